"""Top k: the label and the k highest probabilities; the rest is hidden [Tramèr16, §7]."""

from __future__ import annotations

from dataclasses import dataclass

from filch.core.answers import Reveal
from filch.core.oracle import OracleSpec
from filch.errors import NotRevealed, UsageError
from filch.guards.base import Coarser


@dataclass(frozen=True)
class TopK(Coarser):
    """Show the k highest probabilities of each answer.

    Parameters
    ----------
    k : int
        1 or more.

    Raises
    ------
    UsageError
        A k below 1.

    Examples
    --------
    >>> import numpy as np, filch
    >>> spec = filch.OracleSpec(filch.FeatureSpace.box([0], [1]), ("a", "b", "c"))
    >>> answers = filch.Answers(np.zeros((1, 1)), np.array([2]), np.array([[0.1, 0.2, 0.7]]))
    >>> TopK(2).apply(answers, spec).probabilities.tolist()
    [[nan, 0.2, 0.7]]
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"top-k shows at least one probability, got k = {self.k}")

    def reveal(self, spec: OracleSpec) -> Reveal:
        """The k highest probabilities, with the decimals that the oracle shows."""
        if not spec.reveal.shows_probabilities:
            raise NotRevealed(f"the oracle reveals {spec.reveal.level}, no probabilities to choose from")
        if spec.reveal.k is not None and spec.reveal.k < self.k:
            raise NotRevealed(f"the oracle shows {spec.reveal.level} already: choose k up to {spec.reveal.k}")
        if self.k >= spec.n_classes:
            raise UsageError(f"top-{self.k} hides nothing of {spec.n_classes} classes: choose k below {spec.n_classes}")
        return Reveal(f"top-{self.k}", spec.decimals)
