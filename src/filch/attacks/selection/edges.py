"""What a boundary looks like from near by, by labels alone: the steps of trees, or a slope. It rules attacks out."""

from __future__ import annotations

from collections.abc import Generator
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from filch.attacks.surrogates.axis import AxisSearch
from filch.attacks.surrogates.boundary import Segments, complete
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child

Flags = npt.NDArray[np.bool_]
_HALVINGS = 12  # of a column, after which two rows of different labels lie close enough
_COARSE = 5  # halvings whose rows do not lie too close for attacks to learn from
_FINE = 1e-3  # of a column's range, below which they do
_FURTHER = 32.0  # times as far other columns are moved, as a share of their ranges
_SOME, _MOST = 0.4, 0.8  # share of moves after which the place stays: between them neither is believed
_MOVES = 2  # of each pair of rows


class Edges(StrEnum):
    """What becomes of a place where one column flips the label, once the other columns move a little."""

    STEPS = "steps"
    """It stays: trees and ensembles of trees."""
    SLOPES = "slopes"
    """It moves: linear models, kernel machines, networks."""
    UNKNOWN = "unknown"
    """No such place was found, columns have steps themselves, or some places stay and others move."""


def price(space: FeatureSpace) -> int:
    """About how many rows it takes to look at one place."""
    return int(np.log2(max(2, len(space)))) + 1 + _HALVINGS + 2 * _MOVES


def coarse(space: FeatureSpace) -> int:
    """The number of requests after which rows lie closer to each other than attacks can make use of."""
    return int(np.log2(max(2, len(space)))) + _COARSE


def tells(space: FeatureSpace) -> bool:
    """Whether columns are fine enough to be looked at."""
    return bool(_moving(space).sum() >= 2)


def look(spec: OracleSpec, heard: Answers, places: int, rng: np.random.Generator) -> Generator[Ask, Answers, Edges]:
    """Search such places between answered rows, and move the other columns.

    Parameters
    ----------
    spec : OracleSpec
    heard : Answers
        Of two classes, or nothing can be told.
    places : int
        To look at, side by side.
    rng : Generator
    """
    space = spec.space
    moving = _moving(space)
    whole = heard[np.flatnonzero(complete(space, heard.rows))] if len(heard) else heard
    if not tells(space) or not places or not len(whole) or whole.labels is None:
        return Edges.UNKNOWN
    segments = Segments.draw(space, whole.rows, whole.labels, places, child(rng, "segments"))
    if segments is None:
        return Edges.UNKNOWN
    search = AxisSearch.between(segments)
    yield from search.run(_ask, _HALVINGS, child(rng, "search"))
    stays = yield from _moved(space, search, moving, child(rng, "moves"))
    if not len(stays):
        return Edges.UNKNOWN
    if _SOME < stays.mean() <= _MOST:
        return Edges.UNKNOWN
    return Edges.STEPS if stays.mean() > _MOST else Edges.SLOPES


def _moving(space: FeatureSpace) -> Flags:
    return np.asarray(~space.categorical & (space.grid <= 0) & (space.high > space.low))


def _ask(rows: Rows, phase: str) -> Generator[Ask, Answers, Answers]:
    return (yield Ask(rows, "edges"))


def _moved(
    space: FeatureSpace, search: AxisSearch, moving: Flags, rng: np.random.Generator
) -> Generator[Ask, Answers, Flags]:
    """Whether each pair keeps both its labels when the other columns move; no entry for pairs that tell nothing."""
    (found,) = np.nonzero((search.column >= 0) & moving[search.column])
    column, span = search.column[found], space.high - space.low
    gap = np.abs(search.x[found, column] - search.y[found, column]) / span[column]
    near = gap <= _FINE
    found, column, gap = found[near], column[near], gap[near]
    if not len(found):
        return np.empty(0, dtype=bool)
    pairs = np.concatenate([found] * _MOVES)
    away = np.where(rng.random((len(pairs), len(space))) < 0.5, -1.0, 1.0) * np.concatenate([gap] * _MOVES)[:, None]
    away *= np.where(moving, _FURTHER * span, 0.0)
    away[np.arange(len(pairs)), np.concatenate([column] * _MOVES)] = 0.0
    x, y = search.x[pairs], search.y[pairs]
    away = np.where((x + away > space.high) | (x + away < space.low), -away, away)
    given = yield Ask(np.concatenate([x + away, y + away]), "edges")
    if len(given) < 2 * len(pairs) or given.refused.any() or given.labels is None:
        return np.empty(0, dtype=bool)
    first, second = given.labels[: len(pairs)], given.labels[len(pairs) :]
    return np.asarray((first == search.label[pairs]) & (second != search.label[pairs]))
