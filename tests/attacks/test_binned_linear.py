"""Additive models: edges to ε, weights to float precision, fewer queries than one attribute at a time takes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

import filch
from filch.attacks.binned_linear import BinnedLinear as Attack
from filch.core.answers import Answers
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.errors import CannotRun, UsageError
from filch.models.additive import AdditiveModel, Part
from filch.models.binned import BinnedLinear
from filch.testing import check_attack

SPACE = FeatureSpace(
    (
        Numeric("age", 18, 80, integer=True),
        Numeric("x", -1.5, 2.5),
        Categorical("job", ("a", "b", "c", "d")),
        Numeric("y", 0.0, 40.0),
        Categorical("sex", ("f", "m")),
    )
)


def frame(seed, n=600):
    return SPACE.decode(SPACE.sample(n, np.random.default_rng(seed)))


def fitted(seed=0, classes=3, **settings):
    table = frame(seed)
    score = table["x"] + table["age"] / 20 + (table["job"] == "b") + np.random.default_rng(seed).normal(size=len(table))
    y = score.to_numpy() if classes == 0 else np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    train = table[table["job"] != "d"]  # a value that the target does not know
    return BinnedLinear(settings.pop("bins", 8), **settings).fit(train, y[(table["job"] != "d").to_numpy()])


def oracle(model, **options):
    return filch.ModelOracle(
        model, SPACE, omission=True, reveal="probabilities" if model.kind != "REGRESSION" else "value", **options
    )


def far(model, rows, epsilon=1e-3):
    """Rows farther than ε from every edge of a continuous attribute."""
    ok = np.ones(len(rows), dtype=bool)
    for column, feature in enumerate(SPACE.features):
        if feature.name in model.edges_ and not getattr(feature, "integer", False):
            distance = np.abs(rows[:, [column]] - model.edges_[feature.name])
            ok &= (distance > epsilon * (feature.high - feature.low)).all(axis=1)
    return rows[ok]


def rows_with_gaps(seed, n=3_000):
    rng = np.random.default_rng(seed)
    rows = SPACE.sample(n, rng)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


def assert_same(run, model, source):
    rows = far(model, rows_with_gaps(9))
    answers = source.ask(rows)
    assert len(rows) > 1_500
    if answers.value is not None:
        assert np.abs(run.model.predict(rows) - answers.value).max() < 1e-9
        return
    assert np.array_equal(run.model.predict(rows), np.asarray(source.spec.classes)[answers.labels])
    assert 0.5 * np.abs(run.model.predict_proba(rows) - answers.probabilities).sum(axis=1).max() < 1e-9


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("bins", [8, {"x": 6}, 0])
def test_edges_and_weights(classes, bins):
    for seed in range(1 if bins == 0 else 0, 5):
        model = fitted(seed, classes, bins=bins, normalize=seed > 0)
        run = filch.extract(oracle(model), attack=Attack(), budget=2_000, seed=seed, curve=False)
        assert run.outcome.value == "verified", run.reason
        assert_same(run, model, oracle(model))
        for name, edges in model.edges_.items():
            reach = 0.5 if name == "age" else 1e-3 * (40 if name == "y" else 4)
            assert np.allclose(run.model.edges_[name], edges, rtol=0, atol=reach)
        assert set(run.evidence["linear"]) == {"age", "x", "y"} - set(model.edges_)
        assert run.evidence["values without effect"] == {"job": ["d"]}


def test_linear_attributes_cost_one_query_each():
    model = fitted(1, classes=2, bins=0)
    run = filch.extract(oracle(model), attack=Attack(), budget=100, curve=False)
    assert run.queries == 1 + 3 + 6 + 1  # the base row, attributes, categories, unknown categories


def test_it_takes_about_half_of_a_search_attribute_by_attribute():
    ratios = []
    for seed in range(5):
        model = fitted(seed, 3, bins=16)
        ours, papers = (
            filch.extract(oracle(model), attack=Attack(variant=variant), budget=5_000, seed=seed, curve=False)
            for variant in ("ours", "paper")
        )
        assert papers.outcome.value == "verified"
        ratios.append(ours.queries / papers.queries)
    assert max(ratios) < 0.6, ratios


def conversation(source, known, refused=0.0):
    """The answers of an attack that knows some, its phases and its finding; some rows are refused."""
    rng = np.random.default_rng(0)
    steps = Attack().steps(source.spec, np.random.default_rng(1), budget=1_000, known=known)
    answers, phases, ask = [], [], next(steps)
    try:
        while True:
            answers.append(replace(source.ask(ask.rows), refused=rng.random(len(ask.rows)) < refused))
            phases += [ask.phase] * len(ask.rows)
            ask = steps.send(answers[-1])
    except StopIteration as stop:
        return Answers.concat(answers), phases, stop.value


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_known_rows_are_not_asked_again(classes):
    source = oracle(fitted(0, classes, bins={"age": 3, "x": 4}))
    first, phases, _ = conversation(source, Answers.none(5))
    assert phases[-8:] == ["check"] * 8
    again = first[:-8]
    _, left, finding = conversation(source, again)
    assert left == ["check"] * 8 and finding.outcome == "verified"
    half = again[::2]
    rest, _, finding = conversation(source, half)
    assert finding.outcome == "verified" and len(rest) == len(first) - len(half)
    assert not {row.tobytes() for row in rest.rows} & {row.tobytes() for row in half.rows}


def test_two_rows_in_five_are_refused():
    for seed in range(5):
        model = fitted(seed)
        _, phases, finding = conversation(oracle(model), Answers.none(5), refused=0.4)
        assert finding.outcome == "verified" and len(phases) < 250
        rows = far(model, rows_with_gaps(9))
        off = finding.model.predict_proba(rows) - oracle(model).ask(rows).probabilities
        assert np.abs(off).sum(axis=1).max() < 2e-9


def test_known_rows_are_further_rows_to_check_by():
    model = fitted(0, 3)
    source = oracle(model)
    known = source.ask(far(model, rows_with_gaps(3, 200)))
    run = filch.extract(source, attack=Attack(), budget=1_000, curve=False, known=known)
    assert run.outcome.value == "verified" and int(run.reason.split()[0]) > 8 + 100
    wrong = Answers(known.rows, labels=known.labels, probabilities=known.probabilities[::-1].copy())
    run = filch.extract(source, attack=Attack(), budget=1_000, curve=False, known=wrong)
    assert run.outcome.value == "class_mismatch"


def test_full_rows_where_nothing_may_be_omitted():
    for seed in range(5):
        model = fitted(seed, 3)
        source = filch.ModelOracle(model, SPACE)
        run = filch.extract(source, attack=Attack(), budget=2_000, seed=seed, curve=False)
        assert run.outcome.value == "verified", run.reason
        rows = far(model, SPACE.sample(3_000, np.random.default_rng(seed)))
        assert 0.5 * np.abs(run.model.predict_proba(rows) - source.ask(rows).probabilities).sum(axis=1).max() < 1e-9


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.85])
def test_the_threshold_of_a_binary_score(threshold):
    model = fitted(1, 2, threshold=threshold)
    run = filch.extract(oracle(model), attack=Attack(), budget=2_000, curve=False)
    assert run.outcome.value == "verified" and run.model.threshold == pytest.approx(threshold, abs=1e-5)
    assert_same(run, model, oracle(model))


def scorecard(seed):
    """Whole points, which rise from bin to bin: different choices of bins have the same sum."""
    rng = np.random.default_rng(seed)
    parts = []
    for size, feature in zip(SPACE.sizes, SPACE.features, strict=True):
        if size:
            parts.append(Part(np.empty(0), np.append(rng.permutation(size), 0.0)[:, None]))
            continue
        edges = np.sort(rng.choice(np.arange(feature.low, feature.high, (feature.high - feature.low) / 62), 9, False))
        parts.append(Part(edges + 0.5 * (feature.name == "age"), rng.integers(1, 4, 10).cumsum()[:, None] * 1.0))
    return AdditiveModel(SPACE, None, np.zeros(1), tuple(parts), "identity")


def test_whole_points_whose_sums_coincide():
    for seed in range(5):
        model = scorecard(seed)
        source = Target(model)
        run = filch.extract(source, attack=Attack(), budget=3_000, seed=seed, curve=False)
        assert run.outcome.value == "verified", run.reason
        assert_same(run, model, source)


def one_vs_rest(seed):
    """An additive model with the one-vs-rest link."""
    rng = np.random.default_rng(seed)
    edges = [np.array([25.5, 40.5, 61.5]), np.array([-0.8, 0.4, 1.1]), None, np.array([7.0, 30.0]), None]
    parts = []
    for size, places in zip(SPACE.sizes, edges, strict=True):
        values = rng.normal(size=(size + 1 if size else len(places) + 1, 3))
        values[-1] *= not size
        parts.append(Part(np.empty(0) if size else places, values))
    return AdditiveModel(SPACE, ("p", "q", "r"), rng.normal(size=3), tuple(parts), "ovr")


def test_one_vs_rest():
    for seed in range(5):
        model = one_vs_rest(seed)
        run = filch.extract(Target(model), attack=Attack(), budget=2_000, seed=seed, curve=False)
        assert run.outcome.value == "verified", run.reason
        assert run.evidence["link"] == "ovr"
        assert_same(run, model, Target(model))


class Target(filch.ModelOracle):
    """An oracle over an additive model, which takes coded rows."""

    def __init__(self, model):
        super().__init__(model, SPACE, omission=True, reveal="probabilities" if model.classes else "value")
        self._raw = False


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("decimals", [3, 6])
def test_rounded_scores_are_an_approximation(decimals, classes):
    for seed in range(5):
        model = fitted(seed, classes, bins={"x": 5, "y": 3}, normalize=True)
        source = oracle(model, decimals=decimals)
        run = filch.extract(source, attack=Attack(), budget=3_000, seed=seed, curve=False)
        assert run.outcome.value in ("verified", "approximate"), run.reason
        rows = far(model, SPACE.sample(2_000, np.random.default_rng(seed)))
        true = oracle(model).ask(rows)
        if classes:
            off = 0.5 * np.abs(run.model.predict_proba(rows) - true.probabilities).sum(axis=1)
        else:
            off = np.abs(run.model.predict(rows) - true.value)
        assert np.median(off) < 30 * 10.0**-decimals


def test_a_target_of_another_class_is_told():
    table = frame(0)
    space = FeatureSpace.box([-1.5, 0.0], [2.5, 40.0])
    X = table[["x", "y"]].to_numpy()
    forest = RandomForestRegressor(20, random_state=0).fit(X, X[:, 0] * X[:, 1])
    run = filch.extract(filch.ModelOracle(forest, space, reveal="value"), attack=Attack(), budget=5_000, curve=False)
    assert run.outcome.value == "class_mismatch"


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_the_contract(classes):
    check_attack(Attack(), oracle(fitted(2, classes, bins={"age": 3, "x": 3}, normalize=True)), budget=120)


def test_models_are_saved_and_read(tmp_path):
    model = fitted(0, 3, bins={"x": 5}, normalize=True)
    run = filch.extract(oracle(model), attack="binned-linear", budget=500, curve=False)
    again = filch.models.load(run.model.save(tmp_path / "copy"))
    rows = rows_with_gaps(1, 100)
    assert np.array_equal(again.predict_proba(rows), run.model.predict_proba(rows))
    assert again.n_parameters == run.model.n_parameters


def test_misuse():
    for settings in ({"epsilon": 0}, {"check": -1}, {"variant": "other"}):
        with pytest.raises(UsageError):
            Attack(**settings)
    with pytest.raises(CannotRun, match="all class probabilities"):
        filch.extract(filch.ModelOracle(fitted(), SPACE, omission=True, reveal="labels"), Attack(), budget=10)
    for settings in ({"bins": -1}, {"l2": 0.0}, {"threshold": 1.0}, {"task": "ranking"}):
        with pytest.raises(UsageError):
            BinnedLinear(**settings)
    with pytest.raises(UsageError, match="no column"):
        BinnedLinear({"z": 3}).fit(pd.DataFrame({"x": [0.0, 1.0]}), [0, 1])
