"""Studies of labels alone: cells that outlive a kill, the information limit, the strategies, ART beside them."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome
from filch.core.encoding import OneHot
from filch.core.oracle import ModelOracle
from filch.errors import BudgetSpent, DataError, UsageError
from filch.models.logistic import LogisticModel
from filch.models.surrogate import SurrogateModel
from filch.paper import Spread, cells, figure4, figure5, figure6, mlp_labels, sources
from filch.paper.cells import Cell, run_cells
from filch.paper.compare import unknowns
from filch.paper.curves import Curve, draw
from filch.paper.labels import art, measure, methods, strategies
from filch.paper.labels.limits import cap_angle, kernel_spectrum, leftover_angle, limit
from filch.paper.labels.page import EVERY, LIMIT, TYPICAL
from filch.paper.targets import target
from tests.report.test_page import Page

SMALL = {"datasets": ["moons"], "alphas": [1.0, 5.0], "n_uniform": 2_000, "strategies": ["lowd-meek", "uniform"]}


# ── cells ───────────────────────────────────────────────────────────────────────────────────────────────────


def counted(path: Path) -> dict[str, object]:
    """A cell's work that can be counted from outside: one more line in a file."""
    with path.open("a") as stream:
        stream.write("ran\n")
    return {"value": 1}


def three(log: Path, **more: object) -> list[Cell]:
    return [Cell(f"cell {n}", {"n": n, **more}, lambda: counted(log)) for n in range(3)]


def test_a_cell_is_computed_once_for_the_same_settings(tmp_path: Path) -> None:
    log, folder, told = tmp_path / "log", tmp_path / "kept", list[tuple[str, int, int]]()
    for _ in range(2):
        assert run_cells(three(log), folder, progress=lambda *t: told.append(t)) == [{"value": 1}] * 3
    assert log.read_text().count("ran") == 3
    assert told[2:4] == [("cell 2", 3, 3), ("cell 0 (kept)", 1, 3)]
    run_cells(three(log, alphas=[2.0]), folder)
    assert log.read_text().count("ran") == 6


@pytest.mark.parametrize("damage", ["", "{", '{"settings": {}, "result": {}}', "[]", "cut"])
def test_a_damaged_cell_is_computed_anew(tmp_path: Path, damage: str) -> None:
    log, folder = tmp_path / "log", tmp_path / "kept"
    cell = three(log)[0]
    run_cells([cell], folder)
    file = folder / cell.file
    file.write_text(file.read_text()[:-10] if damage == "cut" else damage)
    assert run_cells([cell], folder) == [{"value": 1}]
    assert log.read_text().count("ran") == 2
    assert json.loads(file.read_text())["settings"]["n"] == 0


def test_another_version_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Cell("a", {}, dict).file
    monkeypatch.setattr(cells.filch, "__version__", "999")
    assert Cell("a", {}, dict).file != before


def test_other_code_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change to a module that an attack imports counts; one of its wording, or to another attack, does not."""
    package = tmp_path / "filch"
    shutil.copytree(sources._ROOT, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "_ROOT", package)

    def file() -> str:
        sources._code.cache_clear()
        return Cell("a", {}, dict, ("filch.attacks.logistic",)).file

    before = file()
    design, other = package / "attacks/linear/design.py", package / "attacks/lowd_meek.py"
    text = design.read_text()
    design.write_text(text.replace('"""', '"""Other words: ', 1) + "\n# and a comment\n")
    other.write_text(other.read_text() + "\nmore = 1\n")
    assert file() == before
    design.write_text(text + "\nmore = 1\n")
    assert file() != before
    design.write_text(text)
    assert file() == before
    sources._code.cache_clear()


def test_a_study_s_cells_name_the_code_of_their_strategy() -> None:
    binary = target("moons", "binary").oracle.spec
    named = {one.name: one.modules(binary, [2.0], 3) for one in figure4.STUDY.strategies}
    assert "filch.attacks.halfspace" in named["filch"] and "filch.attacks.retraining" in named["adaptive"]
    assert "filch.paper.labels.art" in named["KnockoffNets"]
    assert all("filch.paper.labels.methods" in modules for modules in named.values())


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another folder"):
        run_cells(three(tmp_path / "log"), tmp_path / "file")
    with pytest.raises(UsageError, match="jobs must be at least 1"):
        run_cells([], jobs=0)


def test_an_interrupt_says_what_is_kept(tmp_path: Path) -> None:
    def stop() -> dict[str, object]:
        raise KeyboardInterrupt

    work = [*three(tmp_path / "log"), Cell("stop", {}, stop)]
    with pytest.raises(KeyboardInterrupt, match=r"3 of 4 cells are in .*: run the same again to go on"):
        run_cells(work, tmp_path / "kept")
    with pytest.raises(KeyboardInterrupt, match="3 of 4 cells are lost: name a folder"):
        run_cells(work)


BROKEN_OFF = """
import sys, time
from filch.paper import figure4
def told(name, done, of):
    if done == {stop}:
        time.sleep(600)  # the kill comes here, or while another process computes
figure4.run(range(3), datasets=["moons"], alphas=[1.0, 5.0], n_uniform=2_000, strategies=["lowd-meek", "uniform"],
            results=sys.argv[1], jobs={jobs}, progress=told)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_study_that_was_killed_goes_on(tmp_path: Path, jobs: int) -> None:
    code = BROKEN_OFF.format(jobs=jobs, stop=2)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True) as process:
        end = time.monotonic() + 120
        while len(list(tmp_path.glob("*.json"))) < 2 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert 2 <= len(kept) < 6 or jobs == 2
    told: list[str] = []
    table = figure4.run(range(3), **SMALL, results=tmp_path, progress=lambda name, *_: told.append(name))
    assert sum(name.endswith("(kept)") for name in told) == len(kept)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    fresh = figure4.run(range(3), **SMALL)
    assert [replace(row, seconds=None) for row in table.rows] == [replace(row, seconds=None) for row in fresh.rows]


def test_processes_side_by_side_give_the_same_table() -> None:
    one, two = (figure4.run([0, 1], **SMALL, jobs=jobs) for jobs in (1, 2))
    assert [replace(row, seconds=None) for row in one.rows] == [replace(row, seconds=None) for row in two.rows]


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cap_angle_is_the_share_of_a_sphere() -> None:
    """In three dimensions a cap of angle θ is a share (1 − cos θ)/2 of the sphere; half of it is a hemisphere's."""
    for bits in (0, 1, 5, 40):
        assert cap_angle(bits, 3) == pytest.approx(math.acos(1 - 2 * 2.0 ** -(bits + 1)), rel=1e-6)
    for dimensions in (2, 9, 109, 650):
        assert cap_angle(0, dimensions) == pytest.approx(math.pi / 2)


def test_the_cap_angle_against_drawn_directions() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(200_000, 6))
    angles = np.arccos(np.abs(drawn[:, 0]) / np.linalg.norm(drawn, axis=1) * np.sign(drawn[:, 0]))
    for bits in (1, 4, 8):
        share = 2.0 ** -(bits + 1)
        seen = int((angles < cap_angle(bits, 6)).sum())
        assert stats.binomtest(seen, len(angles), share).pvalue > 1e-4


@pytest.mark.parametrize("dimensions", [3, 109, 520])
def test_the_cap_angle_goes_on_where_float64_ends(dimensions: int) -> None:
    bits = np.array([899.9, 900.1])
    before, after = (cap_angle(n, dimensions) for n in bits)
    assert before / after == pytest.approx(2 ** (0.2 / (dimensions - 1)), rel=1e-3)
    many = cap_angle(1_500 + dimensions - 1, dimensions) / cap_angle(1_500, dimensions)
    assert many == pytest.approx(0.5, rel=1e-2)


def test_water_filling() -> None:
    assert leftover_angle(0, np.array([3.0, 1.0])) == pytest.approx(math.pi / 2)
    # ½ log₂(4/L) + ½ log₂(1/L) = 2 bits: L = ½, D = 2 L / 5.
    assert math.sin(leftover_angle(2, np.array([4.0, 1.0]))) ** 2 == pytest.approx(0.2)
    # With ½ bit the larger part alone is described: L = 2, D = (2 + 1) / 5.
    assert math.sin(leftover_angle(0.5, np.array([1.0, 4.0]))) ** 2 == pytest.approx(0.6)
    spectrum = kernel_spectrum(np.random.default_rng(0).uniform(-1, 1, (50, 3)), 0.5)
    assert spectrum.sum() == pytest.approx(1.0) and spectrum.min() > -1e-12


@pytest.mark.parametrize(("dataset", "kind"), [("moons", "binary"), ("iris", "softmax"), ("iris", "mlp-tanh")])
def test_the_limit_falls_and_starts_at_a_constant(dataset: str, kind: str) -> None:
    found = limit(target(dataset, kind))  # type: ignore[arg-type]
    wrong = [found.at(n)[1] for n in (0, 5, 20, 50, 200)]
    assert wrong[0] <= found.constant and all(b < a for a, b in itertools.pairwise(wrong[1:]))


def test_the_limit_of_a_kernel() -> None:
    found = limit(target("moons", "rbf-svm"))
    assert found.at(0) == (pytest.approx(math.pi / 2), found.constant)
    assert found.at(100)[1] < found.at(20)[1] < found.constant


# ── measures ────────────────────────────────────────────────────────────────────────────────────────────────


def copy_of(name: str, turn: float) -> LogisticModel:
    """A binary target's copy, its weights turned by an angle within a plane, in the coordinates of `measure.angle`."""
    shown = target(name, "binary")
    weights = measure.linear(shown.oracle.spec.space, shown.oracle.model)
    assert weights is not None
    here = weights[0]
    aside = np.eye(len(here))[0] - here * here[0] / (here @ here)
    moved = math.cos(turn) * here + math.sin(turn) * aside * np.linalg.norm(here) / np.linalg.norm(aside)
    coef, bias = moved[:-1] * measure.UNIT, moved[-1:]
    return LogisticModel(shown.oracle.spec.space, shown.oracle.spec.classes or (), coef[None], bias)


@pytest.mark.parametrize("turn", [0.0, 1e-12, 1e-6, 0.3])
def test_angles_are_exact_however_small(turn: float) -> None:
    assert measure.angle(target("breast-cancer", "binary"), copy_of("breast-cancer", turn)) == pytest.approx(
        turn, rel=1e-3, abs=1e-15
    )


def test_far_copies_are_measured_on_fewer_rows_and_equal_ones_on_all() -> None:
    shown = target("moons", "binary")
    (far, few), (same, many) = measure.wrong_on_uniform(shown, [copy_of("moons", 0.5), copy_of("moons", 0.0)], 25_000)
    assert far > 0.01 and few == 10_000 and same == 0.0 and many == 25_000
    assert measure.wrong_on_test(shown, [copy_of("moons", 0.0)]) == [0.0]


def test_linear_copies_are_measured_as_their_own_predictions() -> None:
    shown = target("iris", "softmax")
    oracle = ModelOracle(shown.oracle.model, shown.oracle.spec.space, reveal="labels")
    strategy = next(strategies.retraining(strategies.linear_surrogate))
    *_, made = strategy.copies(shown, [5.0], 0)
    assert made.model is not None and measure.linear(shown.oracle.spec.space, made.model) is not None
    (found,) = measure.wrong_on_test(shown, [made.model])
    names = np.asarray(shown.oracle.spec.classes)[oracle.ask(shown.X_test).labels]
    assert found == (made.model.predict(shown.X_test) != names).mean()


@pytest.mark.parametrize("seen", [[1], [0, 2], [0, 1, 2]])
def test_copies_that_have_not_met_every_class_are_measured_as_their_own_predictions(seen: list[int]) -> None:
    shown = target("iris", "softmax")
    X, y = shown.study.X_train, np.searchsorted(shown.oracle.spec.classes or (), shown.study.y_train)
    some = np.isin(y, seen)
    kind = DummyClassifier() if len(seen) == 1 else LogisticRegression(max_iter=1_000)
    copy = SurrogateModel(shown.oracle.spec.space, shown.oracle.spec.classes, kind.fit(X[some], y[some]))
    oracle = ModelOracle(shown.oracle.model, shown.oracle.spec.space, reveal="labels")
    wanted = (copy.labels(shown.X_test) != oracle.ask(shown.X_test).labels).mean()
    assert measure.wrong_on_test(shown, [copy]) == [wanted]
    assert (measure.angle(shown, copy) is None) == (len(seen) < 3)


# ── strategies ──────────────────────────────────────────────────────────────────────────────────────────────


def test_no_copy_has_more_queries_than_alpha_allows(data_folder: Path) -> None:
    shown = target("diabetes", "binary")
    for strategy in figure4.STUDY.strategies:
        if strategy.missing() is None:
            for made in strategy.copies(shown, [0.5, 2.0, 20.0], seed=1):
                assert made.queries <= math.ceil(made.alpha * unknowns(shown))


def test_one_run_gives_what_a_run_for_each_budget_gives_by_then(data_folder: Path) -> None:
    """Lowd–Meek at one precision, looked at on the way and stopped: the same copies."""
    shown = target("diabetes", "binary")
    lowd_meek = methods.Strategy("", lambda spec, points: strategies.LowdMeek(precision=1e-6), anytime=True)
    on_the_way = list(lowd_meek.copies(shown, [10.0, 30.0], 0))
    stopped = list(replace(lowd_meek, anytime=False).copies(shown, [10.0, 30.0], 0))
    assert on_the_way[0].queries <= stopped[0].queries == 90
    for a, b in zip(on_the_way, stopped, strict=True):
        found = [measure.angle(shown, made.model) for made in (a, b) if made.model is not None]
        assert len(found) == 2 and None not in found and max(found) <= 2.5 * min(found)  # type: ignore[operator, type-var]


@dataclass(frozen=True)
class Blocks:
    """Retraining on uniform rows in requests of 50, whatever the budget."""

    def needs(self, spec):
        return None

    def steps(self, spec, rng, *, budget, known):
        heard, model = [known], None
        try:
            while True:
                kept = model
                answers = yield Ask(spec.space.sample(50, rng), "block", snapshot=lambda kept=kept: kept)
                heard.append(answers)
                model = self.fitted(spec, heard)
        except BudgetSpent as spent:
            return Finding(self.fitted(spec, [*heard, spent.partial]), Outcome.BUDGET_SPENT)

    def fitted(self, spec, heard):
        answers = Answers.concat(heard)
        fit = LogisticRegression(C=1e4).fit(answers.rows, answers.labels)
        return LogisticModel(spec.space, spec.classes, fit.coef_ * OneHot(spec.space).scale, fit.intercept_)


def test_a_point_within_a_request_has_a_run_of_its_own(data_folder: Path) -> None:
    """Budgets of 27, 54, 108 and 270: before the first request there is no model; 50 and 100 rows stand for 54, 108."""
    blocks = methods.Strategy("", lambda spec, points: Blocks(), anytime=True)
    shown = target("diabetes", "binary")
    made = list(blocks.copies(shown, [3.0, 6.0, 12.0, 30.0], 0))
    assert [copy.queries for copy in made] == [27, 50, 100, 270]
    assert all(copy.model is not None for copy in made)


def test_knockoff_without_art_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(art.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'filch\[bench\]'"):
        figure4.run([0], datasets=["moons"], strategies=["KnockoffNets"])
    table = figure4.run([0], datasets=["moons"], alphas=[1.0, 2.0], n_uniform=1_000)
    assert "KnockoffNets" not in {row.method for row in table.rows}
    assert table.gallery is not None and "Left out here: ART's KnockoffNets" in table.gallery.intro


def test_knockoff_with_art() -> None:
    pytest.importorskip("art", reason="needs filch[bench]")
    shown = target("iris", "softmax")
    model, asked = art.knockoff(strategies.linear_surrogate, shown, 150, seed=0)
    again, _ = art.knockoff(strategies.linear_surrogate, shown, 150, seed=0)
    assert asked == 150 and model is not None and again is not None
    ((wrong, _), (same, _)) = measure.wrong_on_uniform(shown, [model, again], 10_000)
    assert wrong == same < 0.2


# ── the study and its page ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def table(data_folder: Path):
    return figure4.run([0, 1, 2], datasets=["moons", "diabetes"], alphas=[1.0, 10.0, 50.0], n_uniform=20_000)


def test_every_strategy_at_each_alpha_beside_the_limit(table) -> None:
    rows = {(row.dataset, row.method, row.extra["α"].median): row for row in table.rows if "α" in row.extra}
    methods_ = {method for _, method, _ in rows}
    assert {"lowd-meek", "uniform", "adaptive", LIMIT} <= methods_
    assert len(rows) == 3 * 3 * len(methods_)
    assert rows["diabetes", LIMIT, 10.0].queries == Spread(90, 90)
    assert rows["diabetes", "adaptive", 10.0].queries == Spread(90, 90)
    mean = (rows["moons", "adaptive", 10.0].r_unif.median + rows["diabetes", "adaptive", 10.0].r_unif.median) / 2
    assert rows[EVERY, "adaptive", 10.0].r_unif.median == pytest.approx(mean)


def test_with_many_queries_no_strategy_beats_the_limit_and_line_searches_are_the_best_of_the_papers(table) -> None:
    rows = {(row.dataset, row.method, row.extra["α"].median): row for row in table.rows if "α" in row.extra}
    for (_, method, alpha), row in rows.items():
        if method != LIMIT and alpha >= 10.0 and "angle" in row.further:
            assert row.further["angle"].median >= rows[row.dataset, LIMIT, alpha].further["angle"].median
    for data in ("moons", "diabetes"):
        worse = [rows[data, method, 50.0].further["angle"].median for method in ("uniform", "adaptive")]
        assert rows[data, "lowd-meek", 50.0].further["angle"].worst <= 1e-6 < 100 * min(worse)


def test_the_paper_s_figures_are_rows_of_their_own(table) -> None:
    printed = [row for row in table.rows if "α" not in row.extra]
    assert [row.queries.median for row in printed] == [827, 2_050]
    assert all(row.method.startswith("paper, printed") and row.note for row in printed)


def test_the_page_shows_bands_and_the_limit(table) -> None:
    text = table.gallery.html()
    read = Page(text)
    assert len(read.all("svg")) == 6 and "nan" not in "".join(path["d"] or "" for path in read.all("path"))
    assert len([path for path in read.all("path") if path.get("class") == "limit"]) == 3  # of uniform rows alone
    assert len(read.all("polygon")) >= 6 * 3
    assert table.gallery.sections[0].heading == EVERY


def test_json_holds_median_and_worst(table) -> None:
    rows = json.loads(table.as_json())["rows"]
    assert all(row["r_unif"]["worst"] >= row["r_unif"]["median"] for row in rows if row["r_unif"])


def test_a_limit_is_drawn_down_to_the_axis_end_and_named_there() -> None:
    curve = Curve("limit", 0, [(1, 0.1), (10, 1e-3), (100, 1e-9)], limit=True)
    text = draw([curve], title="T", across="n", ticks=[1, 100], least=1e-6)
    assert text.count("<path") == 1 and ">limit</text>" in text and "<circle" not in text
    assert (
        draw([replace(curve, points=[(1, 1e-9)])], title="T", across="n", ticks=[1, 100], least=1e-6).count("<path")
        == 0
    )


@pytest.mark.parametrize(
    ("study", "data", "alphas", "count"),
    [
        (figure5.STUDY, "iris", [1.0, 10.0], 15),
        (figure6.STUDY, "moons", [2.0, 20.0], 3),
        (mlp_labels.STUDY, "iris", [0.1, 0.3], 163),
    ],
)
def test_every_study_runs_all_its_strategies(study, data: str, alphas: list[float], count: int) -> None:
    table = study.run([0], datasets=[data], alphas=alphas, n_uniform=5_000)
    rows = {(row.method, row.extra["α"].median): row for row in table.rows if "α" in row.extra}
    names = [strategy.name for strategy in study.strategies if strategy.missing() is None]
    limits = {method for method, _ in rows} - set(names)
    assert limits == {LIMIT if study is figure5.STUDY else TYPICAL}
    for name in names:
        few, many = (rows[name, alpha] for alpha in alphas)
        assert few.unknowns == count and many.queries.worst <= math.ceil(alphas[1] * count)
        assert few.r_test is not None and many.r_unif is not None
    assert table.gallery is not None and "The paper prints: " in table.gallery.intro


def test_halving_reaches_a_hundredth_with_seven_queries_for_each_unknown(data_folder: Path) -> None:
    table = figure4.run(range(5), datasets=["diabetes"], alphas=[7.0], strategies=["filch"], n_uniform=100_000)
    row = table.rows[0]
    assert row.method == "filch" and row.r_unif is not None and row.r_unif.median <= 1e-2


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"strategies": ["magic"]}, "has no strategy 'magic': choose"),
        ({"alphas": []}, "alphas are numbers above 0"),
        ({"alphas": [0.0]}, "alphas are numbers above 0"),
        ({"datasets": ["iris"]}, "choose circles"),
    ],
)
def test_what_cannot_be_right_is_told(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        figure4.run([0], **{"datasets": ["moons"], **wrong})  # type: ignore[arg-type]
