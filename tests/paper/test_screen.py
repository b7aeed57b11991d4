"""Tables in a terminal: nothing is cut, whatever its width."""

from __future__ import annotations

import pytest
from rich.console import Console

from filch.paper import Row, Spread, Table

MEASURES = {"R all rows": 1e-4, "places": 116.0, "$": 0.015, "s at 0.1": 14.0}
OURS = Row(
    "adult-income",
    "binary",
    "filch",
    "raw",
    109,
    Spread(7_024, 8_110),
    Spread(0.0, 0.01),
    Spread(0.0, 0.0),
    r_tv_unif=Spread(3e-16, 4e-15),
    extra={name: Spread(value, 2 * value) for name, value in MEASURES.items()},
)
PRINTED = Row("adult-income", "binary", "paper, printed", "raw", 109, Spread(1_485, 1_485), extra={"$": Spread(0, 0)})


def shown(width: int, *rows: Row, title: str = "Title") -> list[str]:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(Table("table7", title, rows))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_every_measure_is_there_at_every_width(width: int) -> None:
    lines = shown(width, OURS, PRINTED, title="A title that goes on " * 8)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for part in ("7,024 (8,110)", "100.00% (99.00%)", "3e-16 (4e-15)", "0.0001 (0.0002)", "0.015 (0.03)", *MEASURES):
        assert part in text
    assert "…" not in text and "adult-income binary · raw · 109 unknowns" in text


def test_a_wide_terminal_has_a_line_for_each_method() -> None:
    wide, narrow = shown(200, OURS, PRINTED), shown(100, OURS, PRINTED)
    assert len(narrow) == len(wide) + 2  # one more under each of the two
    heading = next(line for line in wide if line.startswith("method"))
    assert heading.split()[1:4] == ["queries", "1−R_test", "1−R_unif"]
    assert all(name in heading for name in MEASURES)


def test_the_point_of_a_curve_stands_beside_the_method() -> None:
    row = Row("iris", "2 decimals", "filch", "one-hot", 15, Spread(15, 15), extra={"α": Spread(1.0, 1.0)})
    heading, _, _, line = shown(80, row)[2:6]
    assert heading.split()[:3] == ["method", "α", "queries"] and line.split()[:3] == ["filch", "1", "15"]


def test_a_row_of_its_own_kind_says_no_unknowns() -> None:
    assert "unknowns" not in "".join(shown(80, Row("average of all", "mlp", "printed", "one-hot", 0, Spread(1, 1))))
