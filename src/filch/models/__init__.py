"""What attacks return: plain predictors with scikit-learn's interface.

`load` reads back whatever a model's ``save`` wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from filch.core.models import ExtractedModel
from filch.errors import UsageError
from filch.models import files
from filch.models.additive import AdditiveModel
from filch.models.committee import CommitteeModel
from filch.models.kernel import KernelModel
from filch.models.linear import LinearModel
from filch.models.logistic import LogisticModel
from filch.models.logistic_missing import MissingLogisticModel
from filch.models.perceptron import PerceptronModel
from filch.models.polynomial import PolynomialModel
from filch.models.trees.boxes import BoxesModel
from filch.models.trees.tree import TreeModel

__all__ = [
    "AdditiveModel",
    "BoxesModel",
    "CommitteeModel",
    "KernelModel",
    "LinearModel",
    "LogisticModel",
    "MissingLogisticModel",
    "PerceptronModel",
    "PolynomialModel",
    "TreeModel",
    "load",
]

_KINDS: Mapping[str, Callable[[files.Stored], ExtractedModel]] = {
    "additive": AdditiveModel.stored,
    "boxes": BoxesModel.stored,
    "committee": CommitteeModel.stored,
    "linear": LinearModel.stored,
    "logistic": LogisticModel.stored,
    "logistic-missing": MissingLogisticModel.stored,
    "kernel": KernelModel.stored,
    "perceptron": PerceptronModel.stored,
    "polynomial": PolynomialModel.stored,
    "tree": TreeModel.stored,
}


def load(path: str | Path, *, trust: bool = False) -> ExtractedModel:
    """Read an extracted model.

    Parameters
    ----------
    path : path
        What ``model.save`` returned.
    trust : bool, default False
        Whether a file may be loaded whose loading runs code (scikit-learn surrogates).

    Raises
    ------
    UsageError, UntrustedFile
        The file is no saved model, or would run code and is not trusted.
    """
    if Path(path).suffix != ".npz":
        from filch.models.surrogate import SurrogateModel

        return SurrogateModel.load(path, trust=trust)
    stored = files.read(path)
    if stored.kind not in _KINDS:
        raise UsageError(f"{path} holds a {stored.kind!r} model: this version reads {', '.join(_KINDS)}")
    try:
        return _KINDS[stored.kind](stored)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no saved {stored.kind} model: {error}") from error
