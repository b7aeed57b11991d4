"""Tables of a reproduction: this tool, the paper's method run here, and the paper's printed figures, side by side."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich import box
from rich.table import Table as RichTable

from filch.paper.gallery import Gallery


@dataclass(frozen=True)
class Spread:
    """A measure over seeds: its median and its worst (highest) value."""

    median: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up one value a seed.

        Examples
        --------
        >>> Spread.of([3, 1, 2])
        Spread(median=2, worst=3)
        """
        return cls(statistics.median(values), max(values))


@dataclass(frozen=True)
class Row:
    """One line: a method against a model of a data set. What was not measured or not printed is None.

    Attributes
    ----------
    dataset, model, method : str
    inputs : str
        ``one-hot`` (direct queries) or ``raw`` columns.
    unknowns : int
        The paper's count, c(d + 1); d + 1 for a binary model.
    queries : Spread
        The attack account. ``selection`` rows, by which a method checks itself, come on top.
    r_test, r_unif, r_tv_test, r_tv_unif : Spread or None
        As `filch.evaluate.Fidelity`; lower is better.
    seconds : Spread or None
        Wall time of the extraction, the target's answers included; in the studies of labels alone, CPU time.
    selection, seeds, n_test, n_uniform : int
        Rows of the selection account, and what the measures rest on.
    bounds : bool
        Whether the total variations are upper bounds, as the paper prints them.
    note : str
        How the fit ended, or what a printed figure is.
    extra : mapping of str to Spread
        Measures of this study alone, by name; a column each.
    further : mapping of str to Spread
        More of them, in the JSON and on the page alone.
    """

    dataset: str
    model: str
    method: str
    inputs: str
    unknowns: int
    queries: Spread
    r_test: Spread | None = None
    r_unif: Spread | None = None
    r_tv_test: Spread | None = None
    r_tv_unif: Spread | None = None
    seconds: Spread | None = None
    selection: int = 0
    seeds: int = 0
    n_test: int = 0
    n_uniform: int = 0
    bounds: bool = False
    note: str = ""
    extra: Mapping[str, Spread] = field(default_factory=dict)
    further: Mapping[str, Spread] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A reproduction's result. Printing it with Rich shows it; `as_json` is for machines.

    Attributes
    ----------
    name : str
        As in ``filch reproduce NAME``.
    title : str
    rows : tuple of Row
    gallery : Gallery or None
        The pictures of a study that has some; not in the JSON.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    gallery: Gallery | None = None

    def as_dict(self) -> dict[str, object]:
        """The table as JSON-able values."""
        values = dataclasses.asdict(replace(self, gallery=None))
        del values["gallery"]
        return values

    def as_json(self) -> str:
        """The table as JSON text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def __rich__(self) -> RichTable:
        table = RichTable(
            title=self.title,
            title_justify="left",
            caption="median (worst) over seeds; — not printed in the paper; --json has all measures",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
        )
        table.add_column("method", no_wrap=True)
        extra = list(dict.fromkeys(name for row in self.rows for name in row.extra))
        # A study's own measures take the place of the times, so that the table fits eighty columns.
        distances = ["TV unif"] if any(row.r_tv_unif for row in self.rows) or not extra else []
        for heading in ("queries", "1−R_test", "1−R_unif", *distances, *(extra or ["seconds"])):
            table.add_column(heading, justify="right", no_wrap=True)
        last = None
        for row in self.rows:
            here = (row.dataset, row.model, row.inputs)
            if here != last:
                table.add_row()
                table.add_row(f"[bold]{row.dataset}[/]", row.model, row.inputs, f"{row.unknowns:,} unknowns")
            last = here
            table.add_row(
                f"  {row.method}",
                _both(row.queries, "{:,.0f}"),
                _share(row.r_test),
                _share(row.r_unif),
                *([_both(row.r_tv_unif, "< {:.0e}" if row.bounds else "{:.0e}")] if distances else []),
                *([_measure(row.extra.get(name)) for name in extra] or [_both(row.seconds, "{:.2f}")]),
            )
        return table


def _both(spread: Spread | None, form: str) -> str:
    if spread is None:
        return "—"
    median, worst = form.format(spread.median), form.format(spread.worst)
    return median if median == worst else f"{median} ({worst})"


def _measure(spread: Spread | None) -> str:
    return _both(spread, "{:.2g}" if spread is None or spread.worst < 100 else "{:,.0f}")


def _share(error: Spread | None) -> str:
    return "—" if error is None else _both(Spread(1 - error.median, 1 - error.worst), "{:.2%}")
