"""The page: complete, self-contained, escaped, and readable without seeing the chart."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from filch.errors import DataError
from filch.report import render, save
from filch.report.chart import LEADING, draw, steps
from filch.report.format import Report
from filch.report.html import to_html
from filch.report.terminal import table

VOID = {"meta", "link", "br", "img", "line", "circle", "path"}


class Page(HTMLParser):
    """Every element of a page with its attributes; checks on the way that what opens also closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1] in ("style", "title")):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_page_is_well_formed_and_says_the_verdict(report: Report) -> None:
    page = Page(to_html(report))
    words = " ".join(" ".join(page.text).split())
    assert report.verdict in words.replace("\xa0", " ")
    for reveal in report.reveals:
        assert reveal.name in words
    assert "AML.T0024.002, Extract AI Model" in words
    assert report.digest in words
    assert "request 2, batch 0: 16 rows, paid twice" in words


def test_page_fetches_nothing(report: Report) -> None:
    text = to_html(report)
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "iframe", "object", "embed", "audio", "video"}
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert not re.search(r"@import|url\(|src=|@font-face", text)
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy and "default-src 'none'" in str(policy[0])


def test_page_escapes_other_peoples_text(report: Report) -> None:
    evil = "<script>alert(1)</script>\"'&"
    target = msgspec.structs.replace(report.target, name=evil, classes=(evil,), kind=evil, fingerprint=evil)
    runs = tuple(msgspec.structs.replace(run, reason=evil, settings={evil: evil}) for run in report.runs)
    text = to_html(msgspec.structs.replace(report, target=target, runs=runs, verdict=evil, authorized_by=evil))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6
    Page(text)


def test_page_reads_well_without_eyes(report: Report) -> None:
    page = Page(to_html(report))
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for reference in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(reference) in (None, *ids)
        if "tabindex" in attributes:
            assert attributes.get("role") == "region" and (
                "aria-label" in attributes or "aria-labelledby" in attributes
            )
    assert len(page.all("table")) == len(page.all("caption")) == 4
    assert all("scope" in cell for cell in page.all("th"))
    skip = page.all("a")[0]
    assert skip["class"] == "skip" and str(skip["href"]).removeprefix("#") in ids
    chart = page.all("svg")[0]
    assert chart["role"] == "img" and chart["aria-labelledby"]


def test_every_point_of_the_chart_is_in_its_table(report: Report) -> None:
    words = " ".join(Page(to_html(report)).text)
    for run in report.runs:
        for point in run.curve:
            assert f"{point.queries:,}" in words


def luminance(colour: str) -> float:
    parts = (
        [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        if len(colour) == 7
        else [int(c, 16) / 15 for c in colour[1:]]
    )
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_have_contrast_in_light_dark_and_print(report: Report) -> None:
    schemes = re.findall(r":root \{(.*?)\}", to_html(report), flags=re.S)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+)", scheme))
        for name in ("ink", "soft", "accent", "c0", "c1", "c2", "c3", "c4", "c5"):
            for ground in ("paper", "card"):
                light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_chart_rises_and_its_labels_keep_apart(report: Report) -> None:
    chart = draw(report)
    assert {name for line in chart.lines for name in line.names} == {reveal.name for reveal in report.reveals}
    assert ("probabilities", "4 decimals") in [line.names for line in chart.lines], "equal curves share a line"
    rows = sorted(line.label + i * LEADING for line in chart.lines for i in range(len(line.names)))
    assert all(below - above >= LEADING - 1e-6 for above, below in itertools.pairwise(rows))
    assert chart.top <= rows[0] and rows[-1] <= chart.bottom
    for line in chart.lines:
        xs, ys = zip(*line.dots, strict=True)
        assert list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True)
        assert chart.left <= xs[0] and xs[-1] <= chart.right and chart.top <= ys[-1]


def test_chart_keeps_labels_apart_when_all_end_at_the_bottom(report: Report) -> None:
    runs = tuple(
        msgspec.structs.replace(run, curve=(msgspec.structs.replace(run.curve[0], r_test=0.9 - i / 100, r_unif=None),))
        for i, run in enumerate(report.runs)
    )
    chart = draw(msgspec.structs.replace(report, runs=runs))
    labels = sorted(line.label for line in chart.lines)
    assert len(labels) == 5
    assert all(below - above >= LEADING - 1e-6 for above, below in itertools.pairwise(labels))
    assert labels[-1] <= chart.bottom


def test_steps_only_get_better(report: Report) -> None:
    run = report.runs[-1]
    worse = msgspec.structs.replace(run.curve[1], queries=6_000, r_test=0.5)
    assert steps([run]) == steps([msgspec.structs.replace(run, curve=(*run.curve, worse))])
    assert steps([]) == ()


def test_page_of_an_audit_that_found_nothing(report: Report) -> None:
    reveals = tuple(
        msgspec.structs.replace(
            r,
            reached=tuple(type(x)(x.fidelity) for x in r.reached),
            closest=None,
            closest_run=None,
            bound_test=None,
            bound_uniform=None,
            break_even=None,
        )
        for r in report.reveals
    )
    runs = tuple(msgspec.structs.replace(run, curve=(), parameters=None) for run in report.runs)
    bare = msgspec.structs.replace(report, reveals=reveals, runs=runs)
    assert draw(bare).lines == ()
    Page(to_html(bare))
    assert not bare.fail_under(10**9)


def test_regressor_without_classes_renders(report: Report) -> None:
    target = msgspec.structs.replace(report.target, classes=None, local=False)
    words = " ".join(Page(to_html(msgspec.structs.replace(report, target=target))).text)
    assert "a value" in words and "not stated" in words


def test_render_writes_beside_the_report_and_elsewhere(report: Report, tmp_path: Path) -> None:
    path = save(report, tmp_path / "report.json")
    assert render(path) == render(tmp_path) == tmp_path / "report.html"
    assert render(path, tmp_path / "other.html").read_text(encoding="utf-8") == to_html(report)
    with pytest.raises(DataError, match="cannot write"):
        render(path, tmp_path / "no" / "such" / "page.html")


def renamed(report: Report) -> Report:
    """The same report with a long name for what is served today, and two seeds."""
    text = msgspec.json.encode(report).decode().replace('"probabilities"', '"probabilities, 2 decimals"')
    return msgspec.structs.replace(msgspec.json.decode(text.encode(), type=Report), seeds=(0, 1))


def test_a_long_name_is_cut_neither_in_the_chart_nor_in_the_terminal(report: Report) -> None:
    chart = draw(renamed(report))
    assert all(len(row) <= 20 for line in chart.lines for row in line.names)
    assert any(line.names[:2] == ("probabilities,", "2 decimals") for line in chart.lines)
    rows = sorted(line.label + i * LEADING for line in chart.lines for i in range(len(line.names)))
    assert all(below - above >= LEADING - 1e-6 for above, below in itertools.pairwise(rows))
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table(renamed(report)))
    assert "99.9 %" in shown.get() and "price (99 %)" in shown.get()
    assert all("…" not in line for line in shown.get().splitlines()[1:])


def test_of_several_seeds_the_page_says_which_is_drawn(report: Report) -> None:
    assert "The runs of the first seed" in to_html(renamed(report))
    assert "The runs of the first seed" not in to_html(report)


def test_terminal_table_has_a_row_for_each_reveal(report: Report) -> None:
    console = Console(width=140, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(table(report))
    told = captured.get()
    assert "probabilities ◂" in told
    assert table(report).row_count == len(report.reveals)
    assert "2,600" in told and "$0.26" in told
