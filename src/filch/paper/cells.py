"""Cells of a study, run side by side and kept: each is computed once, whatever breaks off in between.

A cell's result is written the moment it is there, whole or not at all; a study that is run again takes it from its file
as long as nothing that decides it has changed: its settings, the code that it names (an attack's modules and all that
they import from filch; comments and docstrings do not count), and the versions of filch, NumPy and scikit-learn.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import sklearn
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import filch
from filch.errors import DataError, UsageError
from filch.paper.sources import code_of


class Told(Protocol):
    """Told of how a study goes on."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None:
        """Tell of a step that begins, in a few words; or of a cell that is there, how many are, and of how many."""


Result = dict[str, Any]
"""JSON-able values."""


@dataclass(frozen=True)
class Cell:
    """One piece of a study.

    Attributes
    ----------
    name : str
        In a few words; the beginning of its file's name.
    settings : mapping
        JSON-able: all that decides its result.
    compute : callable
        Takes nothing, returns a mapping of JSON-able values; picklable, for it runs in another process.
    modules : tuple of str
        Those of filch whose code decides its result, as `filch.paper.sources.code_of` takes them.
    """

    name: str
    settings: Mapping[str, Any]
    compute: Callable[[], Result]
    modules: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """The settings, the digest of the code, and the versions of what computes."""
        versions = {"filch": filch.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}
        facts: dict[str, Any] = json.loads(
            json.dumps({**self.settings, "code": code_of(*self.modules), "versions": versions})
        )
        return facts

    @property
    def file(self) -> str:
        """The name of its file: cells of other settings have others."""
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:12]
        return f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-')}.{digest}.json"


def run_cells(
    cells: Sequence[Cell], folder: str | Path | None = None, jobs: int = 1, progress: Told | None = None
) -> list[Result]:
    """Compute cells, or take their results from a folder.

    Parameters
    ----------
    cells : sequence of Cell
    folder : path, optional
        Where results are kept; made if missing.
    jobs : int, default 1
        Processes; 1 computes in this one. Each has one thread of linear algebra.
    progress : callable, optional

    Returns
    -------
    list of mappings
        In the order of the cells.

    Raises
    ------
    UsageError
        Fewer than one job.
    DataError
        The folder cannot be written.
    KeyboardInterrupt
        With a message that says what is kept.

    Examples
    --------
    >>> run_cells([Cell("a", {"n": 2}, dict), Cell("b", {"n": 3}, dict)])
    [{}, {}]
    """
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1, got {jobs}")
    place = None if folder is None else _made(Path(folder))
    found: dict[int, Result] = {}
    for number, cell in enumerate(cells):
        kept = None if place is None else _kept(place / cell.file, cell)
        if kept is not None:
            found[number] = kept
            if progress:
                progress(f"{cell.name} (kept)", len(found), len(cells))
    todo = [number for number in range(len(cells)) if number not in found]
    try:
        for number, result in _computed(cells, todo, place, jobs):
            found[number] = result
            if progress:
                progress(cells[number].name, len(found), len(cells))
    except KeyboardInterrupt:
        told = f"{len(found)} of {len(cells)} cells"
        how = f"{told} are in {place}: run the same again to go on" if place else f"{told} are lost: name a folder"
        raise KeyboardInterrupt(f"stopped; {how}") from None
    return [found[number] for number in range(len(cells))]


def _computed(
    cells: Sequence[Cell], todo: Sequence[int], place: Path | None, jobs: int
) -> Iterator[tuple[int, Result]]:
    if jobs == 1 or len(todo) < 2:
        for number in todo:
            yield _one(number, cells[number], place)
        return
    tasks = (joblib.delayed(_one)(number, cells[number], place, os.getpid()) for number in todo)
    # Batches of one: a result is told of, and the next cell is begun, as soon as one is there.
    yield from joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="n_jobs", return_as="generator_unordered")(tasks)


def _one(number: int, cell: Cell, place: Path | None, parent: int | None = None) -> tuple[int, Result]:
    if parent is not None:
        _end_with(parent)
    with threadpool_limits(1):
        result = cell.compute()
    if place is not None:
        _write(place / cell.file, {"settings": cell.facts, "result": result})
    return number, result


@functools.cache
def _end_with(parent: int) -> None:
    """End this process when its parent is gone, which a kill leaves no time to tell."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot keep results in {folder}: {error.strerror}; choose another folder") from error
    return folder


def _kept(path: Path, cell: Cell) -> Result | None:
    """The result in a file; None where there is none, or one of other settings, or one that cannot be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or stored.get("settings") != cell.facts:
        return None
    result = stored.get("result")
    return result if isinstance(result, dict) else None


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file whole or not at all: a kill leaves the old one, or a stray ``.part`` that nobody reads."""
    try:
        handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as stream:
                json.dump(values, stream, ensure_ascii=False, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose another folder") from error
