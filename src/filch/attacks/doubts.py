"""What answers tell about themselves: how finely they resolve the truth, and how far a model is from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers
from filch.core.oracle import OracleSpec

Floats = npt.NDArray[np.float64]
_TELLING = 4  # probabilities that all end at the same decimal show that answers are rounded
_FINEST = 8  # decimals up to which rounding is looked for


def resolution(answers: Answers, spec: OracleSpec) -> float:
    """How far a revealed probability may be from the true one, as far as it is known or the answers tell.

    Parameters
    ----------
    answers : Answers
        With probabilities, or without.
    spec : OracleSpec

    Returns
    -------
    float
        Half a unit in the last decimal; 0 where nothing speaks of rounding.

    Examples
    --------
    >>> import filch
    >>> spec = filch.OracleSpec(filch.FeatureSpace.box([0], [1]), ("a", "b"))
    >>> shown = np.array([[0.25, 0.75], [0.13, 0.87]])
    >>> resolution(Answers(np.array([[0.0], [1.0]]), probabilities=shown), spec)
    0.005
    """
    if spec.decimals is not None:
        return 0.5 * 10.0**-spec.decimals
    shown = answers.probabilities
    inner = np.empty(0) if shown is None else shown[(shown > 0.0) & (shown < 1.0)]
    for decimals in range(1, _FINEST + 1 if len(inner) >= _TELLING else 0):
        if (np.round(inner, decimals) == inner).all():
            return float(0.5 * 10.0**-decimals)
    return 0.0


def distances(model: Any, answers: Answers) -> Floats:
    """Total variation between a model's probabilities and revealed ones, of shape (n,)."""
    assert answers.probabilities is not None
    off: Floats = 0.5 * np.abs(model.predict_proba(answers.rows) - answers.probabilities).sum(axis=1)
    return off
