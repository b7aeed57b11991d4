"""What labels are kin to: surrogates of several families, cross-validated on uniform answers [Tramèr16, §5.3]."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from filch.attacks.fitting import Fitter
from filch.core.answers import Answers
from filch.core.encoding import OneHot
from filch.core.oracle import OracleSpec
from filch.core.seeds import child

_FEWEST, _COLUMNS, _MOST = 60, 20, 400  # answers to tell by: at least, for each encoded column, and at most


def enough(spec: OracleSpec) -> int:
    """The uniform answers by which families are told apart."""
    return min(max(_FEWEST, _COLUMNS * OneHot(spec.space).width), _MOST)


def errors(families: Iterable[str], spec: OracleSpec, answers: Answers, rng: np.random.Generator) -> dict[str, float]:
    """The cross-validated error of each family of surrogates, in their order; 1 where answers are too few.

    Parameters
    ----------
    families : iterable of str
        Of `filch.attacks.surrogates.named.NAMES`.
    spec : OracleSpec
    answers : Answers
        To uniform rows: rows that an attack chose are harder for some families than for others.
    rng : Generator
    """
    found = {}
    for name in families:
        fitter = Fitter(spec, (name,), True, child(rng, name), answers)
        error = fitter.evidence().get("cross-validated error")
        found[name] = 1.0 if error is None else float(error)
    return found
