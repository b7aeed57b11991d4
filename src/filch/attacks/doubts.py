"""What answers tell about themselves: how finely they resolve, whether to believe them, how far a model is off."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers, rounded_to
from filch.core.attack import Ask
from filch.core.columns import listed
from filch.core.oracle import OracleSpec
from filch.errors import BudgetSpent

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_FINEST = 8  # decimals up to which rounding is looked for
_SLACK = 1e-5  # by which probabilities may miss 0, 1 or a sum of 1: float32 servers with many classes
_NOISE = 1e-12  # differences below it come from sums in another order, not from noise


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
    decimals = rounded_to(inner)
    return 0.0 if decimals is None else 0.5 * 10.0**-decimals


def hidden(spec: OracleSpec) -> int:
    """How many probabilities of an answer are not revealed."""
    return max(0, spec.n_classes - (spec.reveal.k or spec.n_classes))


def completed(answers: Answers, spec: OracleSpec) -> Answers:
    """Fill in the probability that answers hide if it is one, for all sum to 1; else the answers as they are.

    Examples
    --------
    >>> import filch
    >>> spec = filch.OracleSpec(filch.FeatureSpace.box([0], [1]), ("a", "b"), filch.Reveal("top-1"))
    >>> shown = np.array([[0.25, np.nan], [np.nan, 1.0]])
    >>> completed(Answers(np.zeros((2, 1)), probabilities=shown), spec).probabilities.tolist()
    [[0.25, 0.75], [0.0, 1.0]]
    """
    shown = answers.probabilities
    if shown is None or hidden(spec) != 1:
        return answers
    left = np.clip(1.0 - np.nansum(shown, axis=1, keepdims=True), 0.0, None)
    # What rounded numbers leave is rounded, too, but for the last digits of a sum in float64.
    coarse = (np.isnan(shown) | (np.round(shown, _FINEST) == shown)).all(axis=1, keepdims=True)
    left = np.where(coarse, np.round(left, _FINEST), left)
    return replace(answers, probabilities=np.where(np.isnan(shown), left, shown))


def distances(model: Any, answers: Answers) -> Floats:
    """Total variation between a model's probabilities and revealed ones, of shape (n,); hidden ones count nothing."""
    assert answers.probabilities is not None
    off: Floats = 0.5 * np.nansum(np.abs(model.predict_proba(answers.rows) - answers.probabilities), axis=1)
    return off


def relabelled(model: Any, answers: Answers, resolution: float) -> int:
    """How many of a model's labels are others than the answers', where rounding leaves no doubt about these."""
    assert answers.probabilities is not None
    shown = np.nan_to_num(answers.probabilities)
    second, first = np.sort(shown, axis=1)[:, -2:].T
    other = model.predict_proba(answers.rows).argmax(axis=1) != shown.argmax(axis=1)
    return int((other & (first - second > 2 * resolution)).sum())


# ── answers that cannot be believed ─────────────────────────────────────────────────────────────────────────


def doubt(answers: Answers, spec: OracleSpec) -> str | None:
    """Why answers cannot be what a model with class probabilities says, in one sentence, or None.

    Told are probabilities that are missing where all are revealed, that are negative or above 1, that do not sum to 1
    (top-k: that sum to more) by more than rounding explains, and numbers that are not finite. For noise between calls
    see `unsteady`, for classes that are never met `unmet`.

    Parameters
    ----------
    answers : Answers
    spec : OracleSpec

    Examples
    --------
    >>> import filch
    >>> spec = filch.OracleSpec(filch.FeatureSpace.box([0], [1]), ("a", "b"))
    >>> doubt(Answers(np.zeros((1, 1)), probabilities=np.array([[0.5, 0.7]])), spec)
    'in 1 of 1 answers the probabilities do not sum to 1 (1.2)'
    """
    answers = answers.given
    for name, numbers in (("value", answers.value), ("scores", answers.scores)):
        if numbers is not None and not np.isfinite(numbers).all():
            bad = (~np.isfinite(numbers)).reshape(len(answers), -1).sum(axis=1) > 0
            return f"in {_share(bad)} {name} is no finite number"
    shown = answers.probabilities
    if shown is None or not len(shown):
        return None
    gaps = np.isnan(shown)
    most = max(0, shown.shape[1] - (spec.reveal.k or shown.shape[1]))
    missing = np.asarray(gaps.sum(axis=1) > most)
    if missing.any():
        return f"in {_share(missing)} a probability is missing (NaN)"
    outside = np.where(gaps, 0.0, np.clip(-shown, 0.0, None) + np.clip(shown - 1.0, 0.0, None)).max(axis=1)
    if (outside > _SLACK).any():
        return f"in {_share(outside > _SLACK)} a probability is below 0 or above 1 ({_worst(shown, outside)})"
    sums = np.where(gaps, 0.0, shown).sum(axis=1)
    slack = _SLACK + resolution(answers, spec) * shown.shape[1]
    off = np.where(gaps.any(axis=1), sums - 1.0, np.abs(sums - 1.0))
    if (off > slack).any():
        word = "sum to more than 1" if gaps.any() else "do not sum to 1"
        return f"in {_share(off > slack)} the probabilities {word} ({sums[off.argmax()]:.4g})"
    return None


def sound(answers: Answers) -> Answers:
    """What can be used of doubtful probabilities: finite ones, negative ones taken as 0, rows of zeros left out."""
    shown = answers.probabilities
    assert shown is not None
    shares = np.clip(shown, 0.0, None)
    total = shares.sum(axis=1)
    usable = np.asarray(np.isfinite(total) & (total > 0.0))
    return Answers(answers.rows[usable], probabilities=shares[usable])


def unmet(answers: Answers, spec: OracleSpec) -> str | None:
    """Name the classes that no answer shows: neither as its label, nor with a probability above 0. None if all are met.

    Examples
    --------
    >>> import filch
    >>> spec = filch.OracleSpec(filch.FeatureSpace.box([0], [1]), ("a", "b"))
    >>> unmet(Answers(np.zeros((1, 1)), labels=np.array([0])), spec)
    "class 'b' never appears in 1 answers"
    """
    answers, met = answers.given, np.zeros(spec.n_classes, dtype=bool)
    if answers.labels is not None:
        met[np.unique(answers.labels[answers.labels >= 0])] = True
    if answers.probabilities is not None:
        met |= (answers.probabilities > 0.0).any(axis=0)
    absent = [str(name) for name, seen in zip(spec.classes or (), met, strict=True) if not seen]
    if not absent or not len(answers):
        return None
    subject = f"class {listed(absent)} never appears" if len(absent) == 1 else f"classes {listed(absent)} never appear"
    return f"{subject} in {len(answers)} answers"


def unsteady(answers: Answers, rows: int = 4) -> Generator[Ask, Answers, str | None]:
    """Ask the first few answered rows again, in the selection account: why answers are noisy, in one sentence, or None.

    Ask it where a fit disagrees with its answers, for noise looks like a target of another class.
    """
    first = answers.given[:rows]
    if not len(first):
        return None
    try:
        again = yield Ask(first.rows, "once more", "selection")
    except BudgetSpent as spent:
        again = spent.partial
    asked = ~again.refused
    first, again = first[: len(again)][asked], again[asked]
    changed = np.zeros(len(again), dtype=bool)
    for name in ("labels", "probabilities", "value", "scores", "node", "confidence"):
        before, after = getattr(first, name), getattr(again, name)
        if before is not None and after is not None:
            gaps = np.isnan(before) | np.isnan(after)
            differs = ~(np.isclose(before, after, rtol=_NOISE, atol=_NOISE) | gaps)
            changed |= differs.reshape(len(again), -1).any(axis=1)
    if not changed.any():
        return None
    return (
        f"the same row is answered differently from call to call ({int(changed.sum())} of {len(changed)} asked again)"
    )


def _share(which: Flags) -> str:
    return f"{int(which.sum())} of {len(which)} answers"


def _worst(shown: Floats, outside: Floats) -> str:
    row = shown[outside.argmax()]
    return f"{row[np.nanargmax(np.abs(row - 0.5))]:.4g}"
