"""Curves on a page of pictures: error against queries for each unknown, both axes logarithmic, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 150.0, 16.0, 48.0
_LEADING = 16.0


@dataclass(frozen=True)
class Curve:
    """A named line.

    Attributes
    ----------
    name : str
        Shown at the right end; empty for none.
    tone : int
        One of the page's six colours, 0 … 5.
    points : sequence of (x, y)
        Positive x; a y of 0 is drawn on the lowest line.
    dashed : bool
    worst : sequence of (x, y)
        At the same x: the band between the line and these is shaded.
    limit : bool
        Drawn thin and grey, without dots, down to ``least``, with its name where it ends.
    """

    name: str
    tone: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    worst: Sequence[tuple[float, float]] = ()
    limit: bool = False


def draw(
    curves: Sequence[Curve], *, title: str, across: str, ticks: Sequence[float], least: float, zero: str = "0"
) -> str:
    """The chart as SVG text.

    Parameters
    ----------
    curves : sequence of Curve
    title : str
        Read out where the chart is not seen.
    across : str
        What the horizontal axis counts.
    ticks : sequence of float
        Marks of the horizontal axis; the first and the last are its ends.
    least : float
        The smallest y above 0 on the vertical axis, a power of ten; 1 is the largest.
    zero : str
        The name of the lowest line.

    Examples
    --------
    >>> draw([Curve("a", 0, [(1, 0.1), (10, 0)])], title="T", across="n", ticks=[1, 10], least=1e-3).count("<path")
    1
    """
    decades = round(-math.log10(least))
    floor = HEIGHT - BOTTOM
    height = (floor - TOP) / (decades + 0.7)  # of a power of ten; the last part of one stands for 0

    def at(x: float) -> float:
        low, high = math.log(ticks[0]), math.log(ticks[-1])
        return LEFT + (WIDTH - RIGHT - LEFT) * (math.log(x) - low) / (high - low)

    def up(y: float) -> float:
        return floor if y <= 0 else TOP + height * min(-math.log10(min(y, 1.0)), decades + 0.35)

    parts = [f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(title)}">']
    for power in range(decades + 1):
        label = f"{10.0**-power:.{max(0, power - 2)}%}".replace("%", " %")
        parts.append(_across(up(10.0**-power), label, "grid"))
    parts.append(_across(floor, zero, "axis"))
    for x in ticks:
        parts.append(f'<line class="axis" x1="{at(x):.1f}" y1="{floor}" x2="{at(x):.1f}" y2="{floor + 5}"/>')
        parts.append(f'<text class="soft" x="{at(x):.1f}" y="{floor + 20}" text-anchor="middle">{x:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="soft" x="{middle}" y="{floor + 40}" text-anchor="middle">{escape(across)}</text>')
    for curve in curves:
        if curve.worst:
            edge = "L".join(f"{at(x):.1f} {up(y):.1f}" for x, y in [*curve.points, *reversed(curve.worst)])
            parts.append(f'<g class="t{curve.tone}"><polygon class="band" points="{edge.replace("L", " ")}"/></g>')
    for curve in curves:
        path = "L".join(f"{at(x):.1f} {up(y):.1f}" for x, y in curve.points)
        if curve.limit:
            parts.append(_limit(curve, at, up, least))
            continue
        dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
        parts.append(f'<g class="t{curve.tone}"><path class="line" d="M{path}"{dash}/>')
        mark = "dot" if curve.dashed else "dot last"
        parts += [f'<circle class="{mark}" cx="{at(x):.1f}" cy="{up(y):.1f}" r="3"/>' for x, y in curve.points]
        parts.append("</g>")
    named = sorted(
        (curve for curve in curves if curve.name and not curve.limit), key=lambda curve: up(curve.points[-1][1])
    )
    below = [up(curve.points[-1][1]) + 4 for curve in named]
    for i in range(1, len(named)):
        below[i] = max(below[i], below[i - 1] + _LEADING)
    limit = floor + 4
    for i in reversed(range(len(named))):
        below[i] = min(below[i], limit)
        limit = below[i] - _LEADING
    for curve, y in zip(named, below, strict=True):
        kind = "soft" if curve.limit else f"name t{curve.tone}"
        parts.append(f'<text class="{kind}" x="{WIDTH - RIGHT + 10}" y="{y:.1f}">{escape(curve.name)}</text>')
    return "".join([*parts, "</svg>"])


def _limit(curve: Curve, at: Callable[[float], float], up: Callable[[float], float], least: float) -> str:
    """A thin line down to ``least``: its values below that are no longer on the axis, though not 0."""
    inside = [(x, y) for x, y in curve.points if y >= least]
    if not inside:
        return ""
    beyond = curve.points[len(inside) :]
    if beyond:
        (x0, y0), (x1, y1) = inside[-1], beyond[0]
        share = math.log(y0 / least) / math.log(y0 / max(y1, 1e-300))
        inside.append((math.exp(math.log(x0) + share * math.log(x1 / x0)), least))
    path = "L".join(f"{at(x):.1f} {up(y):.1f}" for x, y in inside)
    x, y = inside[-1]
    place = f'x="{at(x) - 6:.1f}" y="{up(y) + 4:.1f}" text-anchor="end"'  # to its left, where the limit forbids lines
    return f'<path class="limit" d="M{path}"/><text class="soft" {place}>{escape(curve.name)}</text>'


def _across(y: float, label: str, kind: str) -> str:
    line = f'<line class="{kind}" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
    return f'{line}<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
