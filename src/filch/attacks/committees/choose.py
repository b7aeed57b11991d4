"""Which networks to seat: a few widths and activations are trained, and told apart by answers held back."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from filch.attacks.committees.panel import Networks
from filch.core.answers import Answers
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.perceptron import Activation

HIDDEN = 20
ACTIVATION: Activation = "tanh"
"""With `HIDDEN`, what is taken unless another network does better."""
_WIDTHS = HIDDEN, 5, 10, 40
_ACTIVATIONS: tuple[Activation, ...] = ACTIVATION, "relu"  # tanh units can be any network of as many logistic ones
_MOST = 4_000  # answers that are used
_FOLDS = 4  # each is held back once
_STEPS = 600  # of training: those that are seated train on from round to round
_CLEAR = 2.5  # standard deviations by which another must do better


def choose(
    spec: OracleSpec, heard: Answers, hidden: int | None, activation: Activation | None, rng: np.random.Generator
) -> tuple[int, Activation, dict[str, float]]:
    """Take 20 tanh units, or the network that errs clearly less often on answers that it did not learn.

    Parameters
    ----------
    spec : OracleSpec
    heard : Answers
        Ten or more; of more than 4,000, as many at random.
    hidden : int, optional
        None: 5, 10, 20 and 40 are tried.
    activation : {"tanh", "logistic", "relu"}, optional
        None: tanh and relu are tried.
    rng : Generator

    Returns
    -------
    hidden, activation
    errors : dict
        Each network's share of wrong answers, of those held back, each of four parts in turn.
    """
    assert heard.labels is not None
    some = heard[rng.permutation(len(heard))[:_MOST]]
    assert some.labels is not None
    fold = np.arange(len(some)) % _FOLDS
    widths = _WIDTHS if hidden is None else (hidden,)
    kinds = _ACTIVATIONS if activation is None else (activation,)
    wrong: dict[tuple[int, Activation], npt.NDArray[np.bool_]] = {}
    for width, kind in product(widths, kinds):
        errs = wrong[width, kind] = np.zeros(len(some), dtype=bool)
        network = Networks(spec, 1, width, kind, child(rng, f"{width} {kind}"), _STEPS)
        for held in (fold == number for number in range(_FOLDS)):
            votes = network.learn(some[~held]).predict_proba(some.rows[held])
            errs[held] = votes.argmax(axis=1) != some.labels[held]
    first, best = next(iter(wrong)), min(wrong, key=lambda key: wrong[key].sum())
    gained, lost = (wrong[first] & ~wrong[best]).sum(), (wrong[best] & ~wrong[first]).sum()
    taken = best if gained - lost > _CLEAR * np.sqrt(gained + lost) else first
    return *taken, {f"{width} {kind}": float(errors.mean()) for (width, kind), errors in wrong.items()}
