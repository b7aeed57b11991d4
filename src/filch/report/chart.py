"""The geometry of the chart: fidelity against queries, one line a reveal. The page's template draws it.

Both axes are logarithmic: queries to the right, and upwards the disagreement shrinks tenfold with each line of the
grid, so that 99, 99.9 and 99.99 % are as far apart as they are hard. A line rises in steps: between two measured copies
nothing is made up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from filch.report.format import Report, RunRecord
from filch.report.text import level

WIDTH, HEIGHT = 760.0, 392.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 176.0, 18.0, 50.0
_LEVELS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
_WHOLE = 4.9  # where "no disagreement seen" is drawn, in powers of ten
LEADING = 17.0

Step = tuple[int, float]


@dataclass(frozen=True)
class Tick:
    """A line of the grid, at ``at`` pixels."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """The best copy so far of one reveal, or of several that fared the same.

    Attributes
    ----------
    names : tuple of str
        Rows of the label: a name a row, or two where it is long.
    colour : int
        The place of its first reveal.
    path, tail : str
        SVG paths: the steps, and on to the right edge, where nothing better was found.
    dots : tuple of (x, y)
    end : float
        Where the tail meets the right edge.
    label : float
        Where the first row of the label goes; the others follow, `LEADING` apart.
    """

    names: tuple[str, ...]
    colour: int
    path: str
    tail: str
    dots: tuple[tuple[float, float], ...]
    end: float
    label: float


@dataclass(frozen=True)
class Chart:
    """Everything that the template draws."""

    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM
    leading: float = LEADING


def draw(report: Report) -> Chart:
    """Lay out the chart of a report, from the runs of its first seed."""
    runs = [run for run in report.runs if run.seed == report.seeds[0]]
    most = max((point.queries for run in runs for point in run.curve), default=1)
    decades = max(1, math.ceil(math.log10(max(most, 2)) - 1e-9))
    shared: dict[tuple[Step, ...], list[tuple[int, str]]] = {}
    for place, reveal in enumerate(report.reveals):
        best = steps(run for run in runs if run.reveal == reveal.name)
        if best:
            shared.setdefault(best, []).append((place, reveal.name))
    ends = [_up(best[-1][1]) for best in shared]
    heights = _apart(ends, [len(_names(members)) for members in shared.values()])
    lines = [
        _line(best, members, decades, height) for (best, members), height in zip(shared.items(), heights, strict=True)
    ]
    across = tuple(Tick(_across(10**k, decades), f"{10**k:,}") for k in range(decades + 1))
    up = (*(Tick(_up(1 - fidelity), level(fidelity)) for fidelity in _LEVELS), Tick(_up(0.0), "100 %"))
    return Chart(across, up, tuple(lines))


def steps(runs: Iterable[RunRecord]) -> tuple[Step, ...]:
    """The best copy so far: (queries, disagreement) wherever it gets better."""
    points = [(p.queries, error) for run in runs for p in run.curve if (error := p.error()) is not None]
    best: list[Step] = []
    for queries, error in sorted(points):
        if not best or error < best[-1][1]:
            best.append((queries, error))
    return tuple(best)


def _names(members: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """Rows that the margin holds: "probabilities, 2 decimals" is two."""
    return tuple(row for _, name in members for row in name.replace(", ", ",\n").split("\n"))


def _line(best: Sequence[Step], members: Sequence[tuple[int, str]], decades: int, label: float) -> Line:
    dots = [(_across(queries, decades), _up(error)) for queries, error in best]
    path = f"M{dots[0][0]:.1f} {HEIGHT - BOTTOM:.1f}V{dots[0][1]:.1f}"
    path += "".join(f"H{x:.1f}V{y:.1f}" for x, y in dots[1:])
    x, y = dots[-1]
    return Line(
        names=_names(members),
        colour=members[0][0],
        path=path,
        tail=f"M{x:.1f} {y:.1f}H{WIDTH - RIGHT:.1f}",
        dots=tuple(dots),
        end=y,
        label=label,
    )


def _across(queries: float, decades: int) -> float:
    return LEFT + (WIDTH - RIGHT - LEFT) * math.log10(max(queries, 1)) / decades


def _up(error: float) -> float:
    power = _WHOLE if error <= 0 else min(-math.log10(error), _WHOLE - 0.4)
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * power / _WHOLE


def _apart(wanted: Sequence[float], rows: Sequence[int]) -> list[float]:
    """Move labels of so many rows down, and up again from the bottom, until none covers another."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for above, below in itertools.pairwise(order):
        placed[below] = max(placed[below], placed[above] + rows[above] * LEADING)
    limit = HEIGHT - BOTTOM
    for i in reversed(order):
        placed[i] = min(placed[i], limit - (rows[i] - 1) * LEADING)
        limit = placed[i] - LEADING
    return placed
