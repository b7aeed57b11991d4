"""The attacks, one a file, and their registry by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from typing import Any, get_type_hints

import msgspec

from filch.core.attack import Attack
from filch.errors import UsageError

_ATTACKS: Mapping[str, tuple[str, str, str]] = {
    "auto": ("auto", "Auto", "extract-and-test: every candidate on one shared set of answers"),
    "binned-linear": (
        "binned_linear",
        "BinnedLinear",
        "additive models behind one-hot encoding and binning: bin edges, vocabularies, then the weights",
    ),
    "committee": ("committee", "Committee", "query by committee: networks, and any other model, from labels alone"),
    "halfspace": (
        "halfspace",
        "Halfspace",
        "halving what labels leave open: binary linear and polynomial models, over categories, with flips",
    ),
    "kernel-labels": (
        "kernel_labels",
        "KernelLabels",
        "kernel machines (RBF, polynomial) from labels alone: rows that halve what they leave open",
    ),
    "kernel-logistic": ("kernel_logistic", "KernelLogistic", "RBF kernel logistic regression, and its training rows"),
    "kernel-sgd": (
        "kernel_sgd",
        "KernelSGD",
        "gradient descent for RBF kernel logistic regression: the paper's own method, an approximation",
    ),
    "knockoff": (
        "knockoff",
        "Knockoff",
        "train a surrogate on answers to rows of your own pool: any model, any reveal",
    ),
    "linear": ("linear_regression", "Linear", "equation solving for linear regressions, from values, rounded or not"),
    "logistic": ("logistic", "Logistic", "equation solving for binary, softmax and one-vs-rest logistic models"),
    "logistic-missing": (
        "logistic_missing",
        "LogisticMissing",
        "equation solving for logistic models in which a missing value has a weight of its own",
    ),
    "lowd-meek": ("lowd_meek", "LowdMeek", "boundary line searches: binary linear models from labels alone"),
    "perceptron": ("perceptron", "Perceptron", "networks with one smooth hidden layer, from slopes, unit by unit"),
    "perceptron-relu": (
        "perceptron_relu",
        "PerceptronRelu",
        "ReLU networks with one hidden layer, exactly: kinks along lines, gradients between them",
    ),
    "perceptron-rounded": (
        "perceptron_rounded",
        "PerceptronRounded",
        "networks with one smooth hidden layer behind rounded probabilities, down to the rounding",
    ),
    "perceptron-sgd": (
        "perceptron_sgd",
        "PerceptronSGD",
        "gradient descent for networks with one hidden layer: the paper's own method, an approximation",
    ),
    "softmax-labels": (
        "softmax_labels",
        "SoftmaxLabels",
        "rows in which two classes tie: linear models of several classes from labels alone",
    ),
    "tree-bottom-up": ("tree_bottom_up", "TreeBottomUp", "path finding: decision trees by complete queries"),
    "tree-labels": ("tree_labels", "TreeLabels", "trees, forests and boosting from labels: axis-parallel searches"),
    "tree-top-down": ("tree_top_down", "TreeTopDown", "path finding: decision trees by incomplete queries"),
    "retraining": ("retraining", "Retraining", "train a surrogate on answers: any model, any reveal"),
}


def names() -> dict[str, str]:
    """The attacks' names, with what each does in a line.

    Examples
    --------
    >>> names()["lowd-meek"]
    'boundary line searches: binary linear models from labels alone'
    """
    return {name: line for name, (_, _, line) in _ATTACKS.items()}


def make(name: str, **parameters: Any) -> Attack:
    """Make an attack by name.

    Parameters
    ----------
    name : str
        One of `names`; underscores may stand for hyphens.
    **parameters
        Hyper-parameters of its dataclass.

    Raises
    ------
    UsageError
        No such attack, a parameter that it does not have, or a value of the wrong type.

    Examples
    --------
    >>> make("logistic", check=0)
    Logistic(link='auto', check=0, most=100)
    """
    found = _ATTACKS.get(name.replace("_", "-"))
    if found is None:
        raise UsageError(f"no attack {name!r}: choose {', '.join(_ATTACKS)}")
    module, kind, _ = found
    made = getattr(import_module(f"filch.attacks.{module}"), kind)
    known = [field.name for field in dataclasses.fields(made) if field.init]
    for parameter, value in parameters.items():
        if parameter not in known:
            raise UsageError(f"{name} has no parameter {parameter!r}: choose {', '.join(known)}")
        if (wrong := _mistyped(made, parameter, value)) is not None:
            raise UsageError(f"{name} does not take {parameter}={value!r}: {wrong}")
    try:
        attack: Attack = made(**parameters)
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from error
    return attack


def _mistyped(kind: type, parameter: str, value: Any) -> str | None:
    """What a parameter is expected to be, where a plain value, as of a command line, is not that; else None."""
    if not isinstance(value, str | bool | int | float | tuple | None):
        return None
    try:
        msgspec.convert(value, get_type_hints(kind)[parameter])
    except msgspec.ValidationError as error:
        return str(error)[:1].lower() + str(error)[1:].partition(", got")[0]
    except TypeError:  # a type that only Python knows
        return None
    return None
