"""All kinks of a piecewise linear map along a line: where its slope changes, and by how much.

Each probe is three close rows in line: a score and a slope, unless they show a kink between them. Where the pieces at
the two ends of an interval meet in one point, and rows on either side of it agree, there is one kink; else the interval
is cut at a new probe.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.networks.relu_view import Heard, View
from filch.core.answers import Answers
from filch.core.features import Rows

Floats = npt.NDArray[np.float64]
_REACHES = 3.0, 10.0, 30.0, 100.0, 300.0  # half ranges from the start of a line at which it is first probed
_PAIR = 1e-4  # of an interval between the rows of a probe
_CUTS = 0.5, 0.43, 0.59  # of an interval, where it is cut: in turn, lest a probe that failed be asked once more
_SURE = 8.0  # times the noise: what is no noise
_AGAIN, _SHORTER = 6, 0.7  # times that refused steps are asked again, and how much shorter each time
_LEVELS = 40  # of cuts
_CURVED = 2  # of the first probes whose rows are not in line: more of them show a curve
_BESIDE = 1e-2  # of the way from a kink to the nearer end of its interval, to the rows that prove it
_SHORTEST = 1e-9  # an interval is not cut further
_HOPELESS = 12  # levels after which most intervals should hold no kink, or one


@dataclass(frozen=True, eq=False)
class Probe:
    """A score and a slope at t, and how far each may be off."""

    t: float
    score: Floats
    slope: Floats
    noise: float
    drift: float


@dataclass(frozen=True, eq=False)
class Line:
    """What a line shows.

    Attributes
    ----------
    start : (d,)
        The row at t = 0.
    way : (moving,)
        The direction, in half ranges of the moving columns.
    kinks : (k,)
        Places t, ascending.
    jumps : (k, m)
        By how much the slope grows at each, as t grows.
    low, high : float
        Where the line was probed.
    curved : bool
        It is no line of a piecewise linear map: too many probes show a curve, or a jump.
    open : int
        Intervals that were given up.
    """

    start: Rows
    way: Floats
    kinks: Floats = field(default_factory=lambda: np.empty(0))
    jumps: Floats = field(default_factory=lambda: np.empty((0, 1)))
    low: float = 0.0
    high: float = 0.0
    curved: bool = False
    open: int = 0


Scores = Callable[[Heard], Heard]
"""What is searched for kinks: the scores as they are, or what a model leaves of them."""


def search_line(
    view: View, start: Rows, way: Floats, scores: Scores, most: int, slop: float = 0.0
) -> Generator[Rows, Answers | None, Line]:
    """Find the kinks of a line.

    Parameters
    ----------
    view : View
    start : (d,)
        The row at t = 0.
    way : (moving,)
        The direction, in half ranges.
    scores : callable
    most : int
        About so many rows at most.
    slop : float
        How far a slope may be off because of ``scores``.

    Yields
    ------
    rows
        To be answered.
    """

    def ask(places: Floats) -> Generator[Rows, Answers | None, Heard]:
        answers = yield view.moved(start, places[:, None] * way)
        assert answers is not None
        return scores(view.hear(answers))

    def probe(places: Floats, pairs: Floats) -> Generator[Rows, Answers | None, tuple[list[Probe | None], int]]:
        heard = yield from ask((places[:, None] + pairs[:, None] * np.array([-1.0, 0.0, 1.0])).reshape(-1))
        # Places as they were rounded, not as they were meant.
        at = (heard.points - origin)[:, view.numeric] @ way / (way @ way)
        t, score, noise = at.reshape(-1, 3), heard.scores.reshape(-1, 3, view.outputs), heard.noise.reshape(-1, 3)
        noise = noise.max(axis=1)
        usable = np.isfinite(noise) & (t[:, 2] > t[:, 0])
        span = np.where(usable, t[:, 2] - t[:, 0], 1.0)
        slope = (score[:, 2] - score[:, 0]) / span[:, None]
        bent = np.abs(score[:, 1] - score[:, 0] - slope * (t[:, 1] - t[:, 0])[:, None]).max(axis=1)
        curved = usable & (bent > _SURE * (2 * noise + slop * span))
        far, drift = noise + slop * (1 + np.abs(t[:, 1])), 2 * noise / span + slop
        found = zip(t[:, 1], score[:, 1], slope, far, drift, strict=True)
        good = usable & ~curved
        return [Probe(*one) if fine else None for one, fine in zip(found, good, strict=True)], int(curved.sum())

    origin = view.points(start[None])[0]
    outer, inner = np.array([*(-t for t in _REACHES), *_REACHES]), np.linspace(-0.9, 0.9, 6)
    probes, bends = yield from probe(np.concatenate([outer, inner]), _PAIR * np.concatenate([np.abs(outer), inner**0]))
    asked = 3 * len(probes)
    if bends > _CURVED:
        return Line(start, way, curved=True)
    nodes = sorted((one for one in probes if one is not None), key=lambda one: one.t)
    if len(nodes) < 2:
        return Line(start, way, open=1)
    todo, kinks, given_up = list(itertools.pairwise(nodes)), list[tuple[float, Floats]](), 0
    for level in range(_LEVELS):
        met = [(left, right, _meet(left, right)) for left, right in todo if not _straight(left, right)]
        single = [(left, right, place) for left, right, place in met if place is not None]
        cut = [(left, right) for left, right, place in met if place is None]
        todo = []
        if single:
            # Two kinks may meet outside of them, where the nearer piece goes on: only a row on either side can tell.
            sides = [_BESIDE * min(right.t - place, place - left.t) for left, right, place in single]
            places = np.array([place for *_, place in single])
            heard = yield from ask(np.column_stack([places - sides, places + sides]).reshape(-1))
            asked += 2 * len(single)
            for number, (left, right, place) in enumerate(single):
                near, far = place - sides[number], place + sides[number]
                if _on(left, near, heard, 2 * number) and _on(right, far, heard, 2 * number + 1):
                    kinks.append((place, right.slope - left.slope))
                else:
                    cut.append((left, right))
        if not cut:
            break
        if level >= _HOPELESS and len(cut) > 2 * (len(kinks) + 1):
            return Line(start, way, curved=True)
        if asked + 3 * len(cut) > most:
            given_up += len(cut)
            break
        starts, lengths = np.array([left.t for left, _ in cut]), np.array([right.t - left.t for left, right in cut])
        fresh, _ = yield from probe(starts + _CUTS[level % len(_CUTS)] * lengths, _PAIR * lengths)
        asked += 3 * len(cut)
        for (left, right), node, length in zip(cut, fresh, lengths, strict=True):
            if length < _SHORTEST * max(1.0, abs(left.t)):
                given_up += 1
            else:
                todo += [(left, right)] if node is None else [(left, node), (node, right)]
    else:
        given_up += len(todo)
    kinks.sort(key=lambda one: one[0])
    places = np.array([place for place, _ in kinks])
    jumps = np.array([jump for _, jump in kinks]).reshape(len(kinks), view.outputs)
    return Line(start, way, places, jumps, nodes[0].t, nodes[-1].t, open=given_up)


@dataclass(frozen=True, eq=False)
class Gradient:
    """Scores at a point and their slopes along the moving columns.

    Attributes
    ----------
    point : (D,)
    score : (m,)
    slopes : (moving, m)
    """

    point: Floats
    score: Floats
    slopes: Floats


def gradient(view: View, start: Rows, step: float, scores: Scores) -> Generator[Rows, Answers | None, Gradient | None]:
    """Measure a gradient by steps of one column each; None if it is not answered.

    Rows that are refused are asked once more at other steps.
    """
    size = len(view.moving)
    base: Heard | None = None
    slopes, missing = np.full((size, view.outputs), np.nan), np.arange(size)
    for again in range(_AGAIN):
        scale = step * _SHORTER**again
        rows = view.moved(start, scale * np.eye(size)[missing])
        if base is None:
            rows = np.vstack([view.moved(start, np.full((1, size), scale * again / size)), rows])
        answers = yield rows
        assert answers is not None
        heard = scores(view.hear(answers))
        if base is None:
            first, heard = heard[np.arange(1)], heard[np.arange(1, len(rows))]
            if not first.usable[0]:
                continue
            base = first
        across = heard.points[:, view.numeric] - base.points[:, view.numeric]
        own = across[np.arange(len(missing)), missing]
        good = heard.usable & (own != 0.0)
        slopes[missing[good]] = (heard.scores[good] - base.scores) / own[good, None]
        missing = missing[~good]
        if not len(missing):
            return Gradient(base.points[0], base.scores[0], slopes)
    return None


def _on(piece: Probe, t: float, heard: Heard, number: int) -> bool:
    """Whether an answer at t lies where a piece of the line goes on."""
    off = np.abs(heard.scores[number] - piece.score - piece.slope * (t - piece.t)).max()
    return bool(off <= _SURE * (heard.noise[number] + piece.noise + piece.drift * abs(t - piece.t)))


def _straight(left: Probe, right: Probe) -> bool:
    """Whether the pieces at both ends are one."""
    length = right.t - left.t
    if np.abs(right.slope - left.slope).max() > _SURE * (left.drift + right.drift):
        return False
    off = np.abs(right.score - left.score - (left.slope + right.slope) / 2 * length).max()
    return bool(off <= _SURE * (left.noise + right.noise + (left.drift + right.drift) * length))


def _meet(left: Probe, right: Probe) -> float | None:
    """Where the pieces at both ends meet, in all scores; None if they do not meet between them."""
    length = right.t - left.t
    turn, gap = left.slope - right.slope, right.score - left.score - right.slope * length
    square = float(turn @ turn)
    if square == 0.0:
        return None
    reach = float(turn @ gap) / square
    off = np.abs(turn * reach - gap).max()
    inside = 0.0 <= reach <= length
    close = off <= _SURE * (left.noise + right.noise + (left.drift + right.drift) * length)
    return left.t + reach if inside and close else None
