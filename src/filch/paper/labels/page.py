"""The page of a study of labels alone: curves with bands and the information limit, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from filch.paper.compare import OURS
from filch.paper.curves import Curve, draw
from filch.paper.gallery import Gallery, Section
from filch.paper.tables import Row, Spread

LIMIT, TYPICAL = "information limit", "random targets' limit"
EVERY = "all data sets"
_TONES: Mapping[str, int] = {OURS: 4, "adaptive": 1, "line search": 2, "uniform": 0, "lowd-meek": 5}
_OTHER = 3
_HOW = (
    "Each line is the median of the seeds; its band reaches up to the worst of them. {limit} α counts queries for each "
    "unknown; rows by which a copy is checked come on top, {spare} at most."
)
_BOUND = (
    "The grey line is the information limit: what the labels asked so far can tell at most, under assumptions that the "
    "documentation states."
)
_TYPICAL = (
    "The grey line is the information limit of a target with random parameters; one that was trained is simpler, so "
    "that attacks may do better."
)


def gallery(title: str, intro: str, lines: Sequence[Row], least: float) -> Gallery:
    """The page.

    Parameters
    ----------
    title, intro : str
    lines : sequence of Row
        Those without an α are what the paper prints.
    least : float
        The smallest error on the axis, a power of ten.
    """
    drawn = [row for row in lines if "α" in row.extra]
    names = list(dict.fromkeys(row.dataset for row in drawn))
    names.sort(key=lambda name: name != EVERY)  # the averages first
    bound = any(row.method == LIMIT for row in drawn)
    how = _HOW.format(limit=_BOUND if bound else _TYPICAL, spare=max((row.selection for row in drawn), default=0))
    printed = [row.note for row in lines if "α" not in row.extra]
    said = f" The paper prints: {'; '.join(printed)}." if printed else ""
    sections = [_section(name, [row for row in drawn if row.dataset == name], least) for name in names]
    return Gallery(title, f"{intro} {how}{said}", sections)


def _section(data: str, lines: Sequence[Row], least: float) -> Section:
    alphas = sorted({_alpha(row) for row in lines})
    methods = list(dict.fromkeys(row.method for row in lines))
    few = 10.0 ** -math.ceil(math.log10(max(row.n_test for row in lines)))  # at most one test row
    measures: list[tuple[str, Callable[[Row], Spread | None], float]] = [
        ("wrong on uniform rows", lambda row: row.r_unif, least),
        ("wrong on test rows", lambda row: row.r_test, max(few, least)),
    ]
    charts = []
    for what, of, lowest in measures if len(alphas) > 1 else ():
        curves = [_curve(method, lines, of) for method in methods]
        charts.append(
            draw(
                [curve for curve in curves if curve.points],
                title=f"{data}: {what}",
                across=f"{what} against α, queries for each unknown",
                ticks=alphas,
                least=lowest,
                zero="none",
            )
        )
    head = ["% wrong on uniform rows", *(f"α = {alpha:g}" for alpha in alphas)]
    body = [[method, *(_cell(method, alpha, lines, _share) for alpha in alphas)] for method in methods]
    table = [head, *body]
    angles = [method for method in methods if any(row.method == method and "angle" in row.further for row in lines)]
    if angles and data != EVERY:
        table.append(["angle of the weights, rad", *("" for _ in alphas)])
        table += [[method, *(_cell(method, alpha, lines, _angle) for alpha in alphas)] for method in angles]
    text = "Means over the data sets." if data == EVERY else _facts(lines)
    return Section(data, text, table=table, charts=tuple(charts))


def _facts(lines: Sequence[Row]) -> str:
    row = max(lines, key=lambda row: row.n_test)
    most = max(row.n_uniform for row in lines)
    seeds = "1 seed" if row.seeds == 1 else f"{row.seeds} seeds"
    return f"{row.unknowns:,} unknowns; {seeds}; {row.n_test:,} test rows, up to {most:,} uniform rows."


def _curve(method: str, lines: Sequence[Row], of: Callable[[Row], Spread | None]) -> Curve:
    found = [(_alpha(row), of(row)) for row in lines if row.method == method]
    known = [(alpha, spread) for alpha, spread in found if spread is not None]
    return Curve(
        method,
        _TONES.get(method, _OTHER),
        [(alpha, spread.median) for alpha, spread in known],
        dashed=method not in (OURS, LIMIT, TYPICAL),
        worst=[(alpha, spread.worst) for alpha, spread in known] if method not in (LIMIT, TYPICAL) else (),
        limit=method in (LIMIT, TYPICAL),
    )


def _cell(method: str, alpha: float, lines: Sequence[Row], of: Callable[[Row], Spread | None]) -> str:
    for row in lines:
        if (row.method, _alpha(row)) == (method, alpha):
            spread = of(row)
            if spread is None:
                return "–"
            form = _percent if of is _share else "{:.1e}".format
            median, worst = form(spread.median), form(spread.worst)
            return median if median == worst else f"{median} ({worst})"
    return "–"


def _percent(value: float) -> str:
    if 0 < value < 1e-9:
        return "< 1e-7"
    if value >= 0.1:
        return f"{100 * value:.1f}"
    return np.format_float_positional(100 * value, precision=2, fractional=False, trim="-")


def _share(row: Row) -> Spread | None:
    return row.r_unif


def _angle(row: Row) -> Spread | None:
    return row.further.get("angle")


def _alpha(row: Row) -> float:
    return row.extra["α"].median
