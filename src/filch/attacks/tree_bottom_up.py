"""Decision trees by complete queries, by path finding [Tramèr16, §4.2, Algorithm 1].

An answer names the leaf that a row reaches. Two rows with different answers are bisected to a feature whose change
changes the leaf, and a line search finds the split.

``variant="ours"`` cuts boxes at splits rather than describing leaves one by one: a box is a leaf once rows that take
both ends of every range and every category in it are answered alike. With unique ids that proves it. All sides of the
leaf in a box's corner are searched at once; the split to cut at is among them, unless many leaves share an id.
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
class TreeBottomUp:
    """Extract a decision tree by complete queries.

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
    hurry : float, default 0.05
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
    >>> oracle = TreeOracle(random_tree(space, 12, np.random.default_rng(0)))
    >>> run = filch.extract(oracle, attack=TreeBottomUp(), budget=1_000)
    >>> run.outcome.value, run.model.n_leaves
    ('verified', 12)
    """

    epsilon: float = 1e-3
    relative: bool = False
    per_feature: Mapping[str, float] = field(default_factory=dict)
    variant: Literal["ours", "paper"] = "ours"
    probes: int = 4
    check: int = 8
    hurry: float = 0.05

    def __post_init__(self) -> None:
        Precision(self.epsilon, self.relative, self.per_feature)
        if min(self.probes, self.check, self.hurry) < 0 or self.variant not in ("ours", "paper"):
            raise UsageError('TreeBottomUp takes variant "ours" or "paper", and probes, check and hurry ≥ 0')

    def needs(self, spec: OracleSpec) -> str | None:
        """Any tree; labels alone tell leaves apart badly, but they do."""
        return None if (spec.space.high > spec.space.low).any() else "no feature varies: widen the ranges"

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Search, then check."""
        wanted = Precision(self.epsilon, self.relative, self.per_feature)
        if self.variant == "paper":
            memory, epsilon = Memory(spec, use_fields=False), wanted.of(spec.space, steps=False)
            return (yield from PaperPaths(spec, memory, epsilon, rng).steps(known, partial=False))
        solver = Solver(spec.space, Memory(spec), wanted.of(spec.space), self.hurry, partial=False)
        return (yield from PathFinding(spec, solver, rng, self.probes, self.check).steps(known))
