"""Tables of a reproduction: this tool, the paper's method run here, and the paper's printed figures, side by side."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console, ConsoleOptions, RenderResult

from filch.paper.gallery import Gallery
from filch.paper.screen import lines


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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from lines(self.title, self.rows, options.max_width)
