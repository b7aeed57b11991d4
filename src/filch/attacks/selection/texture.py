"""What answers look like from near by: steps, straight pieces, or curves. It rules attacks out for a few rows."""

from __future__ import annotations

from collections.abc import Generator
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.oracle import OracleSpec
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_STEP = 1e-3  # of half a column's range: it shows a curve, and seldom meets an edge
_STRAIGHT = 1e-8  # the part of a change that is no curvature
_ROWS = 4  # from which short ways are gone
_ALIKE = 0.9  # of the answers of a tree differ at most, if it has not as many leaves as rows are held


class Texture(StrEnum):
    """How answers change along a short way."""

    STEPS = "steps"
    """They do not: trees, ensembles of trees, rounded answers."""
    STRAIGHT = "straight"
    """Scores change linearly: linear models, ReLU networks."""
    CURVED = "curved"
    """Scores bend: smooth networks, kernels, one-vs-rest models."""
    UNKNOWN = "unknown"
    """No column is a number, or answers there are 0 or 1."""


def look(spec: OracleSpec, answers: Answers, rng: np.random.Generator) -> Generator[Ask, Answers, Texture]:
    """Go a short way from a few answered rows, in the selection account: two further rows each.

    Parameters
    ----------
    spec : OracleSpec
    answers : Answers
        Paid already; the rows whose answers are least extreme are gone from.
    rng : Generator
        Of the directions.
    """
    space = spec.space
    moving = ~space.categorical & (space.high > space.low)
    complete = answers[np.flatnonzero(~np.isnan(answers.rows[:, moving]).any(axis=1))] if len(answers) else answers
    if not moving.any() or not len(complete) or (complete.probabilities is None and complete.value is None):
        return Texture.UNKNOWN
    start = complete[_mildest(complete)]
    way = np.where(moving, (space.high - space.low) / 2, 0.0) * child(rng, "way").normal(size=(len(start), len(space)))
    way *= _STEP * np.where(start.rows + 2 * _STEP * way > space.high, -1.0, 1.0) / np.sqrt(moving.sum())
    further = yield Ask(np.concatenate([start.rows + way, start.rows + 2 * way]), "texture", "selection")
    if len(further) < 2 * len(start) or further.refused.any():
        return Texture.UNKNOWN
    parts = start, further[: len(start)], further[len(start) :]
    first, second, third = (_scores(part, start) for part in parts)
    # An answer of 0 or 1 for every class tells nothing; one that is 0 for some classes only has finite entries left.
    change, bend = _largest(second - first), _largest(first - 2 * second + third)
    seen = np.isfinite(change) & np.isfinite(bend)
    if not seen.any():
        return Texture.UNKNOWN
    if np.median(change[seen]) == 0.0:
        return Texture.STEPS
    return Texture.STRAIGHT if np.median(bend[seen] / change[seen].clip(1e-300)) <= _STRAIGHT else Texture.CURVED


def repeats(held: Answers) -> bool:
    """Whether uniform rows are answered alike often enough for one tree of not too many leaves."""
    shown = held.probabilities if held.probabilities is not None else held.value
    if shown is None or not len(held):
        return True
    return len(np.unique(shown, axis=0)) <= _ALIKE * len(held)


def _scores(answers: Answers, start: Answers) -> Floats:
    """Log-ratios to the class that is likeliest at the start (NaN where one is 0 or 1), or values; of shape (n, k)."""
    if answers.probabilities is None or start.probabilities is None:
        assert answers.value is not None
        return answers.value[:, None]
    shown = answers.probabilities
    logs = np.log(np.where((shown > 0.0) & (shown < 1.0), shown, np.nan))
    return np.asarray(logs - np.take_along_axis(logs, start.probabilities.argmax(axis=1)[:, None], axis=1))


def _largest(off: Floats) -> Floats:
    """The largest entry of each row in size, of those that are known; NaN if none is."""
    return np.where(np.isnan(off).all(axis=1), np.nan, np.nan_to_num(np.abs(off)).max(axis=1))


def _mildest(answers: Answers) -> npt.NDArray[np.int64]:
    if answers.probabilities is None:
        return np.arange(min(_ROWS, len(answers)))
    return np.argsort(-answers.probabilities.min(axis=1), kind="stable")[:_ROWS]
