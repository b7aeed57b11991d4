"""Lines of tables as cells: the same rows whether they are kept, computed side by side, or neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from filch.attacks.logistic import Logistic
from filch.core.answers import Reveal
from filch.paper import Row, Table, figure7, studies, table4
from filch.paper.compare import measure
from filch.paper.lines import Line, compute
from filch.paper.targets import target

SMALL = {"datasets": ["iris"], "decimals": [2], "alphas": [1.0, 5.0, 20.0]}


def timeless(table: Table) -> list[Row]:
    return [replace(row, seconds=None) for row in table.rows]


def test_a_study_goes_on_from_what_is_kept(tmp_path: Path) -> None:
    told: list[str] = []

    def run(seeds: int) -> Table:
        told.clear()
        return figure7.run(range(seeds), **SMALL, results=tmp_path, progress=lambda step, *_: told.append(step))

    first = run(2)
    assert len(told) == 2 * (1 + 3 + 1) == len(list(tmp_path.iterdir()))
    assert not any(step.endswith("(kept)") for step in told)
    assert run(2).rows == first.rows  # to the last digit, and the seconds too
    assert all(step.endswith("(kept)") for step in told)
    more = run(3)
    assert sum(not step.endswith("(kept)") for step in told) == 5
    assert timeless(more) == timeless(figure7.run(range(3), **SMALL, jobs=2))


def test_kept_rows_are_those_that_were_measured(tmp_path: Path) -> None:
    line = Line("iris", "softmax", "filch", Logistic("softmax"))
    (kept,) = compute([line], [0, 1], results=tmp_path)
    plain = measure(target("iris", "softmax"), Logistic("softmax"), "filch", "one-hot", [0, 1])
    assert replace(kept, seconds=None) == replace(plain, seconds=None)


def test_what_decides_a_line_is_in_its_cells() -> None:
    line = Line("iris", "softmax", "filch", Logistic("softmax"))
    others = [
        replace(line, attack=Logistic("softmax", check=9)),
        replace(line, dataset="blobs"),
        replace(line, kind="ovr"),
        replace(line, inputs="raw"),
        replace(line, alphas=(1.0,)),
        replace(line, budget=50),
        replace(line, reveal=Reveal(decimals=3)),
    ]
    cells = [line.cell(1), *(other.cell(0) for other in (line, *others))]
    assert len({cell.file for cell in cells}) == len(cells)
    assert "filch.attacks.logistic" in line.cell(0).modules


@pytest.mark.parametrize("name", [name for name, study in studies().items() if study.kept])
def test_every_study_in_cells_takes_what_the_command_line_gives(name: str) -> None:
    study = studies()[name]
    assert {"seeds", "datasets", "results", "jobs", "progress"} <= set(study.takes)


def test_network_rows_are_kept_too(tmp_path: Path) -> None:
    settings = {"seeds": (0,), "datasets": ["iris"], "kinds": ["mlp-relu"], "results": tmp_path}
    assert table4.run(**settings).rows == table4.run(**settings).rows
    assert len(list(tmp_path.iterdir())) == 5
