"""Decision trees by incomplete queries, from the root down [Tramèr16, §4.2 and App. C].

A query that lacks the feature that a node splits is answered by that node. So the empty query shows the root, setting
features shows which one it splits, a line search shows where, and the search goes on in each branch.

``variant="ours"`` asks nothing twice, tries features that were split before first and bisects over subsets of them,
searches a stepped feature on its steps, and all branches side by side. Queries: ⌈log₂ (range / ε)⌉ + 4 for a numeric
split and one for a branch, log₂ of the number of features more where an answer does not name the next one (``fields``),
and a few where splits that were found must be crossed elsewhere. ``check`` further rows (selection account) verify.

Where a missing value takes a branch instead, incomplete rows pass splits unseen. Once that shows, what was not found
rightly is searched by complete rows, and each split is asked where it sends a missing value: a query each, or a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from filch.attacks.trees.memory import Memory, Precision
from filch.attacks.trees.paper import PaperPaths
from filch.attacks.trees.run import PathFinding
from filch.attacks.trees.solve import Solver
from filch.core.answers import Answers
from filch.core.attack import Steps
from filch.core.oracle import OracleSpec
from filch.errors import UsageError


@dataclass(frozen=True)
class TreeTopDown:
    """Extract a decision tree by incomplete queries.

    Parameters
    ----------
    epsilon : float, default 1e-3
        How closely thresholds are searched; integers and stepped features are exact.
    relative : bool, default False
        Whether ``epsilon`` is a share of each feature's range.
    per_feature : mapping of str to float, optional
        Other precisions for some features, by name; absolute.
    variant : {"ours", "paper"}, default "ours"
        Or the paper's own algorithm, which knows neither steps, nor probes, nor a check.
    probes : int, default 4
        Pairs of rows by which a leaf is tested whose id other leaves have too.
    check : int, default 8
        Further rows that the tree is held against, and a quarter as many that were asked before, in case answers vary;
        0 leaves the outcome unverified.
    hurry : float, default 0.1
        The share of the queries, but for the first 200, that may be spent to spare requests: where one would have few
        rows, searches ask what may come next, too. 0 for the fewest queries.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch, numpy as np
    >>> from filch.models.trees.oracle import TreeOracle
    >>> from filch.testing import random_tree
    >>> space = filch.FeatureSpace.box(np.zeros(4), np.ones(4))
    >>> oracle = TreeOracle(random_tree(space, 12, np.random.default_rng(0)), omission=True, fields=True)
    >>> run = filch.extract(oracle, attack=TreeTopDown(), budget=1_000)
    >>> run.outcome.value, run.model.n_leaves
    ('verified', 12)
    """

    epsilon: float = 1e-3
    relative: bool = False
    per_feature: Mapping[str, float] = field(default_factory=dict)
    variant: Literal["ours", "paper"] = "ours"
    probes: int = 4
    check: int = 8
    hurry: float = 0.1

    def __post_init__(self) -> None:
        Precision(self.epsilon, self.relative, self.per_feature)
        if min(self.probes, self.check, self.hurry) < 0 or self.variant not in ("ours", "paper"):
            raise UsageError('TreeTopDown takes variant "ours" or "paper", and probes, check and hurry ≥ 0')

    def needs(self, spec: OracleSpec) -> str | None:
        """Incomplete rows, and more than labels."""
        if not spec.omission:
            return 'it asks incomplete rows, and this oracle accepts none: try "tree-bottom-up"'
        if spec.reveal.level == "labels":
            return (
                'it tells nodes apart by confidence, value or id, and the oracle reveals labels: try "tree-bottom-up"'
            )
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Search from the root down, then check."""
        wanted = Precision(self.epsilon, self.relative, self.per_feature)
        if self.variant == "paper":
            memory, epsilon = Memory(spec, use_fields=False), wanted.of(spec.space, steps=False)
            return (yield from PaperPaths(spec, memory, epsilon, rng).steps(known, partial=True))
        solver = Solver(spec.space, Memory(spec), wanted.of(spec.space), self.hurry, partial=True)
        return (yield from PathFinding(spec, solver, rng, self.probes, self.check).steps(known))
