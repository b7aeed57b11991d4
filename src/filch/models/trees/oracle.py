"""Query access to a tree in this process, as BigML gives it: label or value, with the leaf's id or its confidence."""

from __future__ import annotations

from collections.abc import Iterator

import joblib
import numpy.typing as npt

from filch.core.answers import Answers, Reveal
from filch.core.oracle import Batch, OracleSpec, Reply
from filch.errors import NotRevealed, UsageError
from filch.models.trees.tree import TreeModel

_ARRAYS = (
    "column",
    "threshold",
    "start",
    "route",
    "ids",
    "label",
    "value",
    "confidence",
    "count",
    "distribution",
    "bins",
)


class TreeOracle:
    """An oracle over a `TreeModel`.

    Parameters
    ----------
    tree : TreeModel
        Its ``strategy`` decides what incomplete rows are told.
    reveal : str or Reveal, default "confidence"
        ``confidence``: the label or value, and the confidence; together they name a leaf, often but not always alone
        [Tramèr16, §4.2]. ``node``: label or value, and the unique id of the node. ``probabilities``: the classes'
        shares. ``labels``, ``value``.
    decimals : int, optional
        Round values, confidences and probabilities.
    omission : bool, default False
        Whether features may be omitted.
    fields : bool, default False
        Whether an answer names the columns that are in the query or on the path (BigML's ``fields``).
    max_batch : int, optional
        The most rows in one request.

    Raises
    ------
    NotRevealed
        The tree cannot reveal what is asked of it.

    Examples
    --------
    >>> from filch.core.features import FeatureSpace
    >>> from filch.models.trees.tree import Node, Split
    >>> root = Node(split=Split(0, 1.5), children=[Node(label=0, confidence=0.9), Node(label=1, confidence=0.8)])
    >>> oracle = TreeOracle(TreeModel.build(FeatureSpace.box([0], [2]), ("a", "b"), root))
    >>> oracle.ask([[1.0], [2.0]]).confidence.tolist()
    [0.9, 0.8]
    """

    local = True

    def __init__(
        self,
        tree: TreeModel,
        *,
        reveal: str | Reveal = "confidence",
        decimals: int | None = None,
        omission: bool = False,
        fields: bool = False,
        max_batch: int | None = None,
    ) -> None:
        shown = reveal if isinstance(reveal, Reveal) else Reveal(reveal, decimals)
        classifies = tree.classes is not None
        if shown.level == "scores" or (shown.level == "value" if classifies else shown.level not in _REGRESSES):
            raise NotRevealed(f"a {'classification' if classifies else 'regression'} tree reveals no {shown.level}")
        if shown.shows_probabilities and not tree.distribution.shape[1]:
            raise NotRevealed("this tree knows no class distributions: reveal confidence, node or labels")
        if max_batch is not None and max_batch < 1:
            raise UsageError(f"max_batch must be at least 1, got {max_batch}")
        self.tree, self.fields = tree, fields
        self.spec = OracleSpec(tree.space, tree.classes, shown, omission, max_batch)

    def fingerprint(self) -> str:
        """Hash the tree and what is shown of it."""
        parts = [getattr(self.tree, name) for name in _ARRAYS]
        return f"tree:{joblib.hash([*parts, self.tree.strategy, self.tree.classes, self.fields])}"

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer each batch."""
        for batch in batches:
            yield Reply(batch, self.ask(batch.rows))

    def ask(self, rows: npt.ArrayLike) -> Answers:
        """Answer coded rows of shape (n, d), uncounted: for the owner and for evaluation."""
        checked = self.spec.space.check(rows, omission=self.spec.omission)
        told, level = self.tree.answer(checked), self.spec.reveal.level
        classifies = self.spec.classes is not None
        probabilities = None
        if self.spec.reveal.shows_probabilities:
            probabilities = told.distribution / told.distribution.sum(axis=1, keepdims=True)
        full = Answers(
            rows=checked,
            labels=told.label if classifies else None,
            probabilities=probabilities,
            value=None if classifies else told.value,
            node=self.tree.ids[told.node] if level == "node" else None,
            confidence=told.confidence if level == "confidence" else None,
            fields=told.fields if self.fields else None,
        )
        return self.spec.reveal.apply(full)


_REGRESSES = ("value", "node", "confidence")
