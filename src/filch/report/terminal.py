"""The verdict and the table of reveals, for a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from filch.report import text
from filch.report.format import LEVELS, Report


def table(report: Report) -> Table:
    """Build a Rich table: a row a reveal, with what copies of it cost.

    Parameters
    ----------
    report : Report
        As `filch.report.load` reads it.
    """
    made = Table(
        box=box.SIMPLE_HEAD,
        title="queries to a copy that agrees on …",
        title_justify="left",
        caption=_caption(report),
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    made.add_column("answers show", min_width=14)  # a long name takes two lines in a narrow terminal
    for fidelity in LEVELS:
        made.add_column(text.level(fidelity), justify="right", no_wrap=True)
    for heading in ("price (99 %)", "time", "final"):
        made.add_column(heading, justify="right", no_wrap=True)
    for reveal in report.reveals:
        good = reveal.to(0.99)
        error = reveal.closest.error() if reveal.closest else None
        made.add_row(
            f"{reveal.name} ◂" if reveal.served else reveal.name,
            *(text.count(reached.queries) for reached in reveal.reached),
            text.dollars(good.dollars),
            text.duration(good.seconds),
            "–" if error is None else text.percent(error),
            style="bold" if reveal.served else "",
        )
    return made


def _caption(report: Report) -> str:
    rows = [f"{text.count(report.yardstick.n_test)} test rows"] if report.yardstick.n_test else []
    rows += [f"{text.count(report.yardstick.n_uniform)} uniform rows"] if report.yardstick.n_uniform else []
    return f"◂ as served today; – not reached within the budget; final: as saved; measured on {text.joined(rows)}"
