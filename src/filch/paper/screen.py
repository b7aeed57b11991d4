"""A reproduction's table in a terminal: what does not fit its width goes on a second line, and nothing is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    from filch.paper.tables import Row, Spread

_CAPTION = "median (worst) over seeds; — not measured or not printed; --json has more"
_NONE = "—"
_GAP = 2  # spaces between columns; names of methods are set in by as many
_POINT = "α"  # tells the rows of a curve apart: it stands beside the method
Column = tuple[str, list[str]]
"""A heading, and one text a row."""


def lines(title: str, rows: Sequence[Row], width: int) -> Iterator[Text | Padding]:
    """The table, line by line.

    Parameters
    ----------
    title : str
    rows : sequence of Row
    width : int
        Columns of the terminal.
    """
    methods = [f"{'':{_GAP}}{row.method}" for row in rows]
    columns, below = _columns(rows), list[Column]()
    while len(columns) > 1 and _wide(methods, columns) > width:
        below.insert(0, columns.pop())
    first, sizes = _size("method", methods), [_size(*column) for column in columns]
    yield Text(title, style="italic")
    yield Text()
    heads = "".join(f"{'':{_GAP}}{head:>{size}}" for (head, _), size in zip(columns, sizes, strict=True))
    yield Text(f"{'method':<{first}}{heads}", style="bold")
    yield Text("─" * min(width, _wide(methods, columns)))
    last = None
    for number, row in enumerate(rows):
        here = (row.dataset, row.model, row.inputs)
        if here != last:
            unknowns = f"{row.unknowns:,} unknowns" if row.unknowns else ""
            about = " · ".join(part for part in (row.model, row.inputs, unknowns) if part)
            yield Text.assemble("\n" if last else "", (row.dataset, "bold"), f"  {about}")
        last = here
        texts = "".join(f"{'':{_GAP}}{own[number]:>{size}}" for (_, own), size in zip(columns, sizes, strict=True))
        yield Text(f"{methods[number]:<{first}}{texts}")
        more = " · ".join(f"{head} {own[number]}" for head, own in below if own[number] != _NONE)
        if more:
            yield Padding(Text(more, style="dim"), (0, 0, 0, 2 * _GAP), expand=False)
    yield Text()
    yield Text(_CAPTION, style="dim")


def _columns(rows: Sequence[Row]) -> list[Column]:
    """Those that a table has, the most wanted first."""
    extra = list(dict.fromkeys(name for row in rows for name in row.extra))
    found: list[Column] = [
        ("queries", [_both(row.queries, "{:,.0f}") for row in rows]),
        ("1−R_test", [_share(row.r_test) for row in rows]),
        ("1−R_unif", [_share(row.r_unif) for row in rows]),
    ]
    own = [(name, [_measure(row.extra.get(name)) for row in rows]) for name in extra]
    found = [column for column in own if column[0] == _POINT] + found
    if any(row.r_tv_unif for row in rows) or not extra:
        found.append(("TV unif", [_both(row.r_tv_unif, "< {:.0e}" if row.bounds else "{:.0e}") for row in rows]))
    found += [column for column in own if column[0] != _POINT]
    if not extra:  # a study's own measures take the place of the times
        found.append(("seconds", [_both(row.seconds, "{:.2f}") for row in rows]))
    return found


def _wide(methods: list[str], columns: Sequence[Column]) -> int:
    return _size("method", methods) + sum(_GAP + _size(*column) for column in columns)


def _size(heading: str, texts: Sequence[str]) -> int:
    return max(map(len, (heading, *texts)))


def _both(spread: Spread | None, form: str) -> str:
    return _NONE if spread is None else _pair(form.format(spread.median), form.format(spread.worst))


def _pair(median: str, worst: str) -> str:
    return median if median == worst else f"{median} ({worst})"


def _measure(spread: Spread | None) -> str:
    return _both(spread, "{:.2g}" if spread is None or spread.worst < 100 else "{:,.0f}")


def _share(error: Spread | None) -> str:
    return _NONE if error is None else _pair(f"{1 - error.median:.2%}", f"{1 - error.worst:.2%}")
