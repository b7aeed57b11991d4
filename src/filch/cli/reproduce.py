"""`filch reproduce`: the paper's tables and figures, run here beside what the paper prints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import joblib
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table

from filch.cli.console import err, out
from filch.errors import UsageError
from filch.paper import Reproduction, studies


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reproduce", epilog=_EXAMPLES)(_reproduce)


_EXAMPLES = """Examples:

filch reproduce                      (lists what there is)

filch reproduce table4 --json

filch reproduce binary-lr --only breast-cancer --seeds 5

filch reproduce figure4 --only diabetes --alphas 5,10,20 --results cells/ --out figure4.html
"""


def _reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A table or figure; none lists them.")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds behind each median and worst.")] = 5,
    only: Annotated[list[str] | None, typer.Option("--only", help="A data set; may come again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    page: Annotated[Path | None, typer.Option("--out", help="Write the pictures to this HTML file.")] = None,
    alphas: Annotated[
        str | None, typer.Option("--alphas", help="Queries for each unknown, such as 1,10,100 (labels only).")
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", help="A strategy; may come again (labels only).")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Keep each result in this folder, and go on from it (labels only).")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Processes; by default one a core (labels only).")] = None,
) -> None:
    """Reproduce a table or figure of the paper: this tool, the paper's method run here, the printed figure."""
    known = studies()
    if name is None:
        shown = Table(show_header=False, box=None, pad_edge=False)
        for key, study in known.items():
            shown.add_row(f"[bold]{key}[/]", study.description, ", ".join(study.datasets))
        out.print(shown)
        return
    if name not in known:
        raise UsageError(f"nothing is reproduced under the name {name!r}: choose {', '.join(known)}")
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}")
    study = known[name]
    unknown = [data for data in only or () if data not in study.datasets]
    if unknown:
        raise UsageError(f"{name} does not run on {unknown[0]!r}: choose {', '.join(study.datasets)}")
    if page is not None:
        _check_page(name, study.pictures, page)
    given = {"--alphas": alphas, "--strategy": strategy, "--results": results, "--jobs": jobs}
    settings = _cells(name, study, given)
    with _progress(study) as progress:
        table = study(seeds=range(seeds), datasets=tuple(only or study.datasets), progress=progress, **settings)
    if as_json:
        print(table.as_json())
    else:
        out.print(table)
    if table.gallery is not None and page is not None:
        err.print(f"pictures: {table.gallery.save(page)}", highlight=False, soft_wrap=True)
    elif study.pictures:
        err.print(f"there are pictures, too: filch reproduce {name} --out {name}.html", highlight=False, soft_wrap=True)


def _cells(name: str, study: Reproduction, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a study in cells; what a study without them is given is told."""
    known = studies()
    for option, value in given.items():
        if value is not None and not study.cells:
            having = ", ".join(key for key, other in known.items() if other.cells)
            raise UsageError(f"{name} does not take {option}: leave it out (with it: {having})")
    if not study.cells:
        return {}
    jobs = given["--jobs"]
    settings = {"strategies": given["--strategy"], "results": given["--results"]}
    settings["jobs"] = joblib.cpu_count() if jobs is None else jobs
    if given["--alphas"] is not None:
        settings["alphas"] = _numbers(given["--alphas"])
    return settings


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--alphas takes numbers with commas between them, such as 1,10,100; got {text!r}") from None


@contextlib.contextmanager
def _progress(study: Reproduction) -> Iterator[Callable[..., None]]:
    """What a study is told to call: of a step in words, or, of cells, how many are there."""
    if not study.cells:
        with Status("starting", console=err) as status:
            yield lambda step, done=0, of=0: status.update(step)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task("starting", total=None)
        yield lambda name, done, of: bars.update(task, description=name, completed=done, total=of)


def _check_page(name: str, pictures: bool, page: Path) -> None:
    """Say what is wrong with ``--out`` before hours of work, not after."""
    if not pictures:
        having = ", ".join(key for key, study in studies().items() if study.pictures) or "none yet"
        raise UsageError(f"{name} has no pictures to write to {page}: leave out --out (with pictures: {having})")
    if page.is_dir() or not page.parent.is_dir():
        raise UsageError(f"cannot write {page}: name a file in a folder that exists")
