"""`filch reproduce`: the paper's tables and figures, run here beside what the paper prints."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import joblib
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table

from filch.cli.console import err, out
from filch.errors import UsageError
from filch.paper import Reproduction, studies
from filch.paper.cells import Told

_OPTIONS = {  # what a study may or may not take, by the name of its setting; --out is for those with pictures
    "--alphas": "alphas",
    "--decimals": "decimals",
    "--strategy": "strategies",
    "--results": "results",
    "--jobs": "jobs",
}


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
    results: Annotated[
        Path | None, typer.Option("--results", help="Keep each result in this folder, and go on from it.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Processes; by default one a core.")] = None,
    alphas: Annotated[str | None, typer.Option("--alphas", help="Queries for each unknown, such as 1,10,100.")] = None,
    decimals: Annotated[str | None, typer.Option("--decimals", help="Places of rounding, such as 4,3,2.")] = None,
    strategy: Annotated[list[str] | None, typer.Option("--strategy", help="A strategy; may come again.")] = None,
) -> None:
    """Reproduce a table or figure of the paper: this tool, the paper's method run here, the printed figure.

    Not every study takes all options: one that it does not take is told before anything runs.
    """
    known = studies()
    if name is None:
        _list(known, as_json)
        return
    if name not in known:
        raise UsageError(f"nothing is reproduced under the name {name!r}: choose {', '.join(known)}")
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}")
    study = known[name]
    unknown = [data for data in only or () if data not in study.datasets]
    if unknown:
        raise UsageError(f"{name} does not run on {unknown[0]!r}: choose {', '.join(study.datasets)}")
    given = {
        "--out": page,
        "--alphas": None if alphas is None else tuple(_numbers("--alphas", alphas, float)),
        "--decimals": None if decimals is None else tuple(_numbers("--decimals", decimals, int)),
        "--strategy": strategy or None,
        "--results": results,
        "--jobs": jobs,
    }
    settings = _settings(name, {option: value for option, value in given.items() if value is not None})
    if study.kept:
        settings.setdefault("jobs", joblib.cpu_count())
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


def _list(known: Mapping[str, Reproduction], as_json: bool) -> None:
    """What there is; the times are those of all data sets and five seeds on two cores."""
    if as_json:
        facts = {
            name: {
                "description": study.description,
                "time": study.time,
                "datasets": study.datasets,
                "options": _takes(study),
            }
            for name, study in known.items()
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    shown = Table(show_header=False, box=None, pad_edge=False)
    for name, study in known.items():
        shown.add_row(f"[bold]{name}[/]", escape(study.description), f"[dim]{study.time}[/]")
    out.print(shown)
    out.print(
        "\nTimes are rough: all data sets, five seeds, two cores. --only and --seeds ask for less.", highlight=False
    )


def _takes(study: Reproduction) -> list[str]:
    """The options that a study takes."""
    own = [option for option, setting in _OPTIONS.items() if setting in study.takes]
    return ["--seeds", "--only", "--json", *(["--out"] if study.pictures else []), *own]


def _settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a study; an option that it does not take is told, and a place that cannot be written."""
    known = studies()
    for option, value in given.items():
        if option not in _takes(known[name]):
            having = ", ".join(key for key, other in known.items() if option in _takes(other))
            raise UsageError(f"{name} takes no {option}, but {', '.join(_takes(known[name]))} ({option}: {having})")
        if option == "--out" and (value.is_dir() or not value.parent.is_dir()):
            raise UsageError(f"cannot write {value}: name a file in a folder that exists")
    return {_OPTIONS[option]: value for option, value in given.items() if option in _OPTIONS}


def _numbers(option: str, text: str, kind: Callable[[str], float]) -> Iterator[float]:
    try:
        yield from [kind(part) for part in text.split(",")]
    except ValueError:
        example = "1,10,100" if kind is float else "4,3,2"
        raise UsageError(f"{option} takes numbers with commas between them, such as {example}; got {text!r}") from None


@contextlib.contextmanager
def _progress(study: Reproduction) -> Iterator[Told]:
    """What a study is told to call: of a step in words, or, of cells, how many are there."""
    if not study.kept:
        with Status("starting", console=err) as status:
            yield lambda step, done=0, of=0: status.update(step)
        return
    if not err.is_terminal:  # a bar that nobody sees leaves an empty line
        yield lambda step, done=0, of=0: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task("starting", total=None)
        yield lambda step, done=0, of=0: bars.update(task, description=step, completed=done, total=of)
