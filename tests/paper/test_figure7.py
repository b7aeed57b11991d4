"""Rounding as a defence: its rows, its curves, its page."""

from __future__ import annotations

import itertools
import re

import pytest

from filch.paper import figure7
from filch.paper.curves import Curve, draw
from tests.report.test_page import Page


@pytest.fixture(scope="module")
def table():
    return figure7.run(seeds=[0, 1], datasets=["iris"], decimals=[2], alphas=[1.0, 10.0, 20.0])


def test_each_method_at_each_alpha(table):
    rows = {(row.model, row.method, row.extra["α"].median): row for row in table.rows}
    assert len(rows) == len(table.rows) == 9
    assert rows["2 decimals", "filch", 1.0].queries.worst == 15
    assert [rows["2 decimals", "paper's method", a].queries.worst for a in (1.0, 10.0, 20.0)] == [15, 150, 300]
    assert [rows["labels only", "labels only", a].queries.worst for a in (1.0, 10.0, 20.0)] == [15, 150, 300]
    assert rows["labels only", "labels only", 1.0].r_tv_unif is None


def test_filch_makes_at_most_a_fifth_of_the_errors_with_as_many_queries(table):
    rows = {(row.method, row.extra["α"].median): row for row in table.rows}
    for alpha in (10.0, 20.0):
        ours, papers = rows["filch", alpha], rows["paper's method", alpha]
        assert ours.queries.worst <= papers.queries.worst
        assert 5 * ours.r_unif.median <= papers.r_unif.median and 5 * ours.r_test.median <= papers.r_test.median
        assert ours.r_unif.worst <= 1e-3


def test_a_run_that_ended_early_stands_for_larger_budgets(table):
    ours = {row.extra["α"].median: row for row in table.rows if row.method == "filch"}
    assert ours[10.0].queries.worst < 150 and ours[20.0].queries == ours[10.0].queries


def test_the_page_shows_curves_and_numbers(table):
    text = table.gallery.html()
    read = Page(text)
    assert len(read.all("svg")) == 2 and len(read.all("path")) == 6
    assert not re.search(r"(nan|inf)", "".join(re.findall(r' d="([^"]+)"', text)))
    assert {"labels only", "α = 10"} <= {part.strip() for part in read.text}


def test_names_of_curves_do_not_cover_each_other():
    curves = [Curve(f"c<{i}>", i, [(1, 0.1), (10, 0.0)]) for i in range(6)]
    text = draw(curves, title="T", across="n", ticks=[1, 10], least=1e-3)
    heights = sorted(float(y) for y in re.findall(r'class="name[^>]* y="([0-9.]+)"', text))
    assert all(b - a >= 15.9 for a, b in itertools.pairwise(heights)) and heights[-1] < 300
    assert "c&lt;0&gt;" in text
