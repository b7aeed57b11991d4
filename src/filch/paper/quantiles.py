"""What bin edges tell of training data, as SVG: one small chart for each attribute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 760.0, 178.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 22.0, 30.0, 42.0
_MOST = 400  # points of the line
_TICK = 9.0  # pixels

Floats = npt.NDArray[np.float64]
Axis = Callable[[float], float]


def draw(name: str, values: Floats, true: Floats, found: Floats, low: float, high: float) -> str:
    """The distribution of an attribute in the training data, its quantiles, and the edges found, as SVG text.

    Parameters
    ----------
    name : str
    values : (n,)
        Of the training data, in any order.
    true : (m,)
        The edges of the target.
    found : (k,)
        Those of the copy.
    low, high : float
        The ends of the horizontal axis.

    Examples
    --------
    >>> draw("age", np.arange(9.0), np.array([2.5]), np.array([2.6]), 0, 8).count("<circle")
    2
    """
    ordered = np.sort(values)
    floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def at(x: float) -> float:
        return LEFT + (right - LEFT) * (x - low) / (high - low)

    def up(share: float) -> float:
        return floor - (floor - TOP) * share

    def share(x: float) -> float:
        return float(np.searchsorted(ordered, x, side="right") / len(ordered))

    title = f"{name}: {len(true)} quantiles of the training data are edges of the target, {len(found)} were found"
    parts = [f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(title)}">']
    parts.append(f'<text class="name t0" x="{LEFT}" y="{TOP - 12}">{escape(name)}</text>')
    parts += [_legend(right)]
    for level in (0.0, 0.5, 1.0):
        y, kind = up(level), "axis" if level == 0.0 else "grid"
        parts.append(f'<line class="{kind}" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{level:.0%}</text>')
    for x in true:
        parts.append(f'<line class="axis" x1="{at(x):.1f}" y1="{floor}" x2="{at(x):.1f}" y2="{floor + _TICK}"/>')
    for x, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end")):
        parts.append(f'<text class="soft" x="{at(x):.1f}" y="{floor + 30}" text-anchor="{anchor}">{_number(x)}</text>')
    parts.append(f'<g class="t1"><path class="line" d="M{_path(ordered, low, high, at, up)}"/></g><g class="t0">')
    parts += [f'<circle class="dot" cx="{at(x):.1f}" cy="{up(share(x)):.1f}" r="3"/>' for x in found]
    return "".join([*parts, "</g></svg>"])


def _path(ordered: Floats, low: float, high: float, at: Axis, up: Axis) -> str:
    places = np.unique(ordered)
    if len(places) > _MOST:
        places = np.unique(
            np.concatenate([np.linspace(low, high, _MOST), np.quantile(ordered, np.linspace(0, 1, _MOST))])
        )
    shares = np.searchsorted(ordered, places, side="right") / len(ordered)
    points: list[str] = [f"{at(low):.1f} {up(0.0):.1f}"]
    before = 0.0
    for x, y in zip(places.tolist(), shares.tolist(), strict=True):
        points += [f"{at(x):.1f} {up(before):.1f}", f"{at(x):.1f} {up(y):.1f}"]
        before = y
    return "L".join([*points, f"{at(high):.1f} {up(1.0):.1f}"])


def _legend(right: float) -> str:
    """What line, dots and ticks are, from the right end to the left."""
    y, texts = TOP - 12, ("share of training rows up to here", "edge found", "training quantile")
    x, parts = right - 430, list[str]()
    marks: Sequence[str] = (
        f'<g class="t1"><path class="line" d="M{x} {y - 4}L{x + 18} {y - 4}"/></g>',
        f'<g class="t0"><circle class="dot" cx="{x + 236}" cy="{y - 4}" r="3"/></g>',
        f'<line class="axis" x1="{x + 322}" y1="{y - 9}" x2="{x + 322}" y2="{y}"/>',
    )
    for mark, text, place in zip(marks, texts, (x + 24, x + 245, x + 329), strict=True):
        parts.append(f'{mark}<text class="soft" x="{place}" y="{y}">{text}</text>')
    return "".join(parts)


def _number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 1_000 else f"{x:.3g}"
