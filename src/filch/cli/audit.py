"""`filch audit` and `filch report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from filch.audit import Plan, prepare
from filch.cli import target as options
from filch.cli.console import bar, complain, err, out
from filch.core.run import Progress
from filch.errors import UsageError
from filch.report import load, render
from filch.report.format import Report
from filch.report.terminal import table


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("audit", epilog=_EXAMPLES)(_audit)
    app.command("report", epilog="Example:  filch report out/report.json")(_report)


_EXAMPLES = """Examples:

filch audit model.joblib --trust --data customers.csv --target churn --out report/

filch audit http://127.0.0.1:8080/v2/models/credit/infer --data rows.csv --plan

filch audit model.joblib --trust --data customers.csv --target churn --fail-under 10000   (in CI: exit code 3)
"""


def _audit(
    where: options.Where,
    data: options.Data = None,
    column: options.Column = None,
    save: Annotated[Path, typer.Option("--out", help="A folder for the report, the copies and the journal.")] = Path(
        "report"
    ),
    plan: Annotated[bool, typer.Option("--plan", help="Print what it would cost at worst, and send nothing.")] = False,
    fail_under: Annotated[
        int | None, typer.Option("--fail-under", help="Exit 3 if a 99 % copy costs fewer queries than this.")
    ] = None,
    reveals: Annotated[
        list[str] | None,
        typer.Option("--against", help="A coarser answer to audit: 4 (decimals), top-1, labels. May come again."),
    ] = None,
    max_queries: Annotated[int, typer.Option("--max-queries", help="The budget of each attack.")] = 5_000,
    price: Annotated[float, typer.Option("--price", help="Dollars per 1,000 predictions.")] = 0.1,
    latency: Annotated[float, typer.Option("--latency", help="Seconds a request.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option("--seeds", help="How many seeds each attack runs with.")] = 1,
    n_uniform: Annotated[
        int | None, typer.Option("--evaluate", help="Uniform rows to measure copies on; paid if remote.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with the journal in the folder.")] = True,
    trust: options.Trust = False,
    dialect: options.Dialect = "kserve-v2",
    reveal: options.Shown = None,
    decimals: options.Decimals = None,
    classes: options.Classes = None,
    max_batch: options.MaxBatch = None,
    concurrency: options.Concurrency = 4,
    rate: options.Rate = None,
    timeout: options.Timeout = 30.0,
    header_env: options.HeaderEnv = None,
    ca_file: options.CaFile = None,
    authorized_by: options.Authorized = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
) -> None:
    """Find out what a copy of a model costs, and what each countermeasure changes."""
    target = options.Target(
        where, data, column, trust, dialect, reveal, decimals, classes, max_batch, concurrency, rate, timeout,
        header_env, ca_file, authorized_by,
    )  # fmt: skip
    if fail_under is not None and fail_under < 1:
        raise UsageError(f"--fail-under is a number of queries, at least 1; got {fail_under}")
    rows = target.table()
    prepared = prepare(
        target.oracle(rows),
        rows,
        name=None if target.remote else Path(where).name,
        reveals=reveals,
        max_queries=max(max_queries, fail_under or 0),  # a smaller budget could not tell
        price=price,
        latency=latency,
        rate=rate,
        concurrency=concurrency,
        n_uniform=n_uniform,
        seed=seed,
        seeds=seeds,
    )
    if plan:
        _show_plan(prepared.plan, as_json)
        return
    with bar(quiet=as_json) as tell:

        def progress(cell: str, place: int, of: int, told: Progress) -> None:
            if tell:
                tell(told, f"{place}/{of} {cell}" if place else cell)

        report = prepared.run(save, resume=resume, authorized_by=authorized_by, progress=progress)
    show(report.data, report.html, as_json)
    if fail_under is not None and report.fail_under(fail_under):
        complain(f"a 99 % copy costs fewer than {fail_under:,} queries", kind="failed")
        raise typer.Exit(3)


def _report(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="A report.json, or the folder that holds it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Print a saved report, and write its page anew."""
    file = path / "report.json" if path.is_dir() else path
    show(load(file), render(file), as_json)


def show(report: Report, page: Path | None, as_json: bool) -> None:
    """Print a report: the verdict, the table, the advice, where the page is."""
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
        return
    out.print()
    out.print(report.verdict, style="bold", highlight=False, markup=False)
    out.print(table(report))
    for advice in report.advice:
        out.print(f"• {advice}", highlight=False, markup=False)
    if page is not None:
        err.print(f"\nreport: {page}", highlight=False, markup=False, soft_wrap=True)


def _show_plan(plan: Plan, as_json: bool) -> None:
    parts = [*plan.estimates(), plan.total()]
    if as_json:
        names = ("name", "queries", "requests", "dollars", "seconds")
        print(json.dumps([{name: getattr(part, name) for name in names} for part in parts], indent=2))
        return
    shown = Table(title="at worst; nothing was sent", title_justify="left")
    for heading in ("part", "queries", "requests", "price", "time"):
        shown.add_column(heading, justify="left" if heading == "part" else "right")
    for part in parts:
        last = part is parts[-1]
        cells = (f"{part.queries:,}", f"{part.requests:,}", f"${part.dollars:,.2f}", f"{part.seconds:,.0f} s")
        shown.add_row(part.name, *cells, style="bold" if last else "")
    out.print(shown)
