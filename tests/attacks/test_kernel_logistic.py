"""Kernel logistic regression: representers, γ, weights to float precision; categories; refusals; other models."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, load_wine
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import filch
from filch.attacks.kernel_logistic import KernelLogistic
from filch.attacks.kernels.fit import Fit, contrasts, polish, weigh
from filch.errors import CannotRun, UsageError
from filch.models import KernelModel
from filch.testing import check_attack
from filch.testing.wrappers import Refusing

BOX = filch.FeatureSpace.box([-1] * 12, [1] * 12)
MIXED = filch.FeatureSpace(
    (
        *(filch.Numeric(f"n{j}", 0, 10 + j) for j in range(6)),
        filch.Numeric("years", 18, 90, integer=True),
        filch.Numeric("fixed", 3, 3),
        *(filch.Categorical(f"c{j}", tuple("abcd"[: 2 + j])) for j in range(3)),
    )
)


def target(space=BOX, count=10, classes=4, gamma=0.1, seed=0, bias=1.0):
    rng = np.random.default_rng(seed)
    rows = space.sample(count, rng)
    vectors = classes if classes > 2 else 1
    weights, biases = rng.normal(size=(vectors, count)), bias * rng.normal(size=vectors)
    return KernelModel(space, tuple(range(classes)), filch.OneHot(space).encode(rows), weights, biases, gamma), rows


def run(model, attack=None, budget=3_000, seed=0, **options):
    oracle = filch.ModelOracle(model, model.space, **options)
    return filch.extract(oracle, attack=attack or KernelLogistic(), budget=budget, seed=seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("classes", "gamma"), [(4, 0.1), (4, 0.02), (2, 0.1), (3, 0.4)])
def test_representers_gamma_and_weights_are_recovered(classes, gamma, seed):
    model, _ = target(classes=classes, gamma=gamma, seed=seed)
    found = run(model, seed=seed)
    assert found.outcome == "verified", found.reason
    assert len(found.model.representers_) == 10 and found.model.gamma_ == pytest.approx(gamma, rel=1e-6)
    ours, theirs = found.model.canonical(), model.canonical()
    assert np.allclose(ours.representers_, theirs.representers_, rtol=0, atol=1e-6)
    assert np.allclose(ours.dual_coef_, theirs.dual_coef_, rtol=0, atol=1e-5)
    assert np.allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-5)


def test_rows_stay_inside_the_ranges_and_few_are_asked():
    model, _ = target(MIXED, classes=4)
    asked = []

    class Told(KernelModel):
        def predict_proba(self, X):
            asked.append(self.space.rows_of(X))
            return super().predict_proba(X)

    parts = model.representers_, model.dual_coef_, model.intercept_, model.gamma_
    found = run(Told(MIXED, model.classes, *parts))
    assert found.outcome == "verified" and found.queries <= 250
    rows = np.concatenate(asked)
    assert (rows >= MIXED.low).all() and (rows <= MIXED.high).all()


@pytest.mark.parametrize("seed", range(3))
def test_raw_rows_with_numbers_and_categories(seed):
    model, rows = target(MIXED, classes=4, seed=seed)
    found = run(model, seed=seed)
    assert found.outcome == "verified", found.reason
    ranges = np.maximum(MIXED.high - MIXED.low, 1.0)
    off = np.abs((found.model.rows[:, None] - rows) / ranges).max(axis=2)
    assert (off.min(axis=0) < 1e-6).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("load", "count", "gamma"), [(load_iris, 8, 0.5), (load_wine, 15, 0.1)])
def test_components_of_a_nystroem_pipeline_come_out(load, count, gamma, seed):
    X, y = load(return_X_y=True)
    kernel = Nystroem(gamma=gamma, n_components=count, random_state=0)
    model = make_pipeline(MinMaxScaler((-1, 1)), kernel, LogisticRegression(max_iter=1_000)).fit(X, y)
    space = filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))
    found = filch.extract(filch.ModelOracle(model, space), attack=KernelLogistic(), budget=1_000, seed=seed)
    assert found.outcome == "verified", found.reason
    assert len(found.model.rows) == count and found.model.gamma_ == pytest.approx(gamma, rel=1e-9)
    held = X[kernel.component_indices_]  # rows that the model was trained on
    off = (np.abs(found.model.rows[:, None] - held) / np.ptp(X, axis=0)).max(axis=2)
    assert (off.min(axis=0) < 1e-6).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("load", "count", "gamma"), [(load_iris, 8, 0.3), (load_wine, 15, 0.1)])
def test_numbers_may_be_scaled_each_in_its_own_way(load, count, gamma, seed):
    X, y = load(return_X_y=True)
    kernel = Nystroem(gamma=gamma, n_components=count, random_state=0)
    model = make_pipeline(StandardScaler(), kernel, LogisticRegression(max_iter=1_000)).fit(X, y)
    space = filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))
    found = filch.extract(filch.ModelOracle(model, space), attack=KernelLogistic(), budget=2_000, seed=seed)
    assert found.outcome == "verified", found.reason
    held = X[kernel.component_indices_]
    off = (np.abs(found.model.rows[:, None] - held) / np.ptp(X, axis=0)).max(axis=2)
    assert (off.min(axis=0) < 1e-6).all()
    scaled = gamma * (filch.OneHot(space).scale / model[0].scale_) ** 2
    assert np.allclose(found.model.gammas, scaled, rtol=1e-6, atol=0)


def test_a_pipeline_over_numbers_and_categories():
    rng = np.random.default_rng(0)
    names = [f"n{j}" for j in range(6)]
    frame = pd.DataFrame({name: rng.normal(scale=10.0**j, size=300) for j, name in enumerate(names)})
    frame["letter"], frame["member"] = rng.choice(list("abc"), 300), rng.choice(["yes", "no"], 300)
    y = (frame["n0"] + (frame["letter"] == "a") + rng.normal(size=300) > 0).astype(int) + (frame["n2"] > 50)
    encode = make_column_transformer(
        (StandardScaler(), names), (OneHotEncoder(sparse_output=False), ["letter", "member"])
    )
    kernel = Nystroem(gamma=0.05, n_components=12, random_state=0)
    model = make_pipeline(encode, kernel, LogisticRegression(max_iter=1_000)).fit(frame, y)
    space = filch.FeatureSpace.from_frame(frame)
    found = filch.extract(filch.ModelOracle(model, space), attack=KernelLogistic(), budget=2_000)
    assert found.outcome == "verified", found.reason
    held, ours = frame.iloc[kernel.component_indices_], space.decode(found.model.rows)
    off = np.abs(ours[names].to_numpy()[:, None] - held[names].to_numpy()) / np.ptp(frame[names].to_numpy(), axis=0)
    assert (off.max(axis=2).min(axis=0) < 1e-6).all()
    nearest = ours.iloc[off.max(axis=2).argmin(axis=0)]
    assert (nearest[["letter", "member"]].to_numpy() == held[["letter", "member"]].to_numpy()).all()


def test_without_a_bias_the_number_of_representers_is_right_as_well():
    found = run(target(bias=0.0)[0])
    assert found.outcome == "verified" and len(found.model.representers_) == 10


def test_answers_in_single_precision_are_no_mismatch():
    model, _ = target(count=4, gamma=0.3)

    class Single(KernelModel):
        def predict_proba(self, X):
            return super().predict_proba(X).astype(np.float32).astype(float)

    parts = model.representers_, model.dual_coef_, model.intercept_, model.gamma_
    found = run(Single(BOX, model.classes, *parts))
    assert found.outcome == "verified", found.reason
    assert np.allclose(found.model.canonical().representers_, model.canonical().representers_, rtol=0, atol=1e-2)


def test_noise_and_answers_that_are_no_probabilities_are_told():
    model, _ = target(count=4)
    parts = BOX, model.classes, model.representers_, model.dual_coef_, model.intercept_, model.gamma_

    class Noisy(KernelModel):
        def predict_proba(self, X):
            p = super().predict_proba(X) * np.random.default_rng(asked.pop()).uniform(0.99, 1.01, size=(len(X), 4))
            return p / p.sum(axis=1, keepdims=True)

    class Doubled(KernelModel):
        def predict_proba(self, X):
            return 2.0 * super().predict_proba(X)

    asked = list(range(1_000))
    noisy = run(Noisy(*parts), KernelLogistic(most=8))
    assert noisy.outcome == "no_convergence" and "asked again" in noisy.reason, noisy.reason
    doubled = run(Doubled(*parts))
    assert doubled.outcome == "class_mismatch" and "gives no class probabilities" in doubled.reason


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_refused_rows_are_done_without(share):
    model, _ = target(count=6)
    oracle = Refusing(filch.ModelOracle(model, BOX), share)
    found = filch.extract(oracle, attack=KernelLogistic(), budget=5_000)
    assert found.outcome in ("verified", "no_convergence"), found.reason
    assert found.model is not None and (share > 0.05 or found.outcome == "verified")


@pytest.mark.parametrize("model", [LogisticRegression(max_iter=1_000), DecisionTreeClassifier()])
def test_what_is_no_kernel_model_is_told(model):
    X, y = load_iris(return_X_y=True)
    oracle = filch.ModelOracle(model.fit(X, y), filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)))
    found = filch.extract(oracle, attack=KernelLogistic(most=20), budget=2_000)
    assert found.outcome in ("class_mismatch", "no_convergence") and found.model is not None
    assert "closest fit" in found.reason and found.evidence["residual"] > 1e-9


def test_a_few_representers_become_averages_where_the_target_has_too_many():
    rng = np.random.default_rng(0)
    centres = BOX.sample(5, rng)
    rows = (centres[:, None] + 0.1 * rng.normal(size=(5, 12, 12))).reshape(60, 12)
    weights = np.repeat(rng.normal(size=(4, 5)), 12, axis=1) / 4
    model = KernelModel(BOX, (0, 1, 2, 3), rows, weights, rng.normal(size=4), 0.1)
    few, none = (run(model, KernelLogistic(most=12, local=local)) for local in (5, 0))
    assert few.outcome == none.outcome == "no_convergence"
    assert len(few.model.representers_) == 5 and "closest fit of 5" in few.reason
    apart = [filch.fidelity(filch.ModelOracle(model, BOX), found.model).r_tv_unif for found in (few, none)]
    assert apart[0] < apart[1] / 2
    means = rows.reshape(5, 12, 12).mean(axis=1)
    assert (np.abs(few.model.representers_[:, None] - means).max(axis=2).min(axis=0) < 0.1).all()


def test_more_representers_than_looked_for_and_rounded_answers_are_told():
    many = run(target(count=40)[0], KernelLogistic(most=12))
    assert many.outcome == "no_convergence" and "more representers" in many.reason
    coarse = run(target()[0], KernelLogistic(most=20), decimals=3)
    assert coarse.outcome == "no_convergence" and "too coarse" in coarse.reason


def test_a_budget_that_ends_early_leaves_a_model_and_a_reason():
    model, _ = target()
    for budget in (5, 60, 150):
        found = run(model, budget=budget)
        assert found.outcome == "budget_spent" and found.queries == budget and found.model is not None
    assert run(model, KernelLogistic(check=0)).outcome == "unverified"


def test_a_fit_from_nearby_converges_to_the_rounding_of_the_answers():
    model, _ = target()
    rng = np.random.default_rng(1)
    rows = BOX.sample(120, rng)
    z = np.log(model.predict_proba(rows)) @ contrasts(4)
    near = weigh(rows, z, model.representers_ + 0.02 * rng.normal(size=(10, 12)), 0.105)
    fit = polish(rows, z, near)
    assert isinstance(fit, Fit) and fit.gamma == pytest.approx(0.1, rel=1e-9)
    assert np.allclose(fit.representers, model.representers_, rtol=0, atol=1e-8)


def test_bad_parameters_and_oracles():
    with pytest.raises(UsageError, match="most ≥ 1"):
        KernelLogistic(most=0)
    with pytest.raises(CannotRun, match="all class probabilities"):
        run(target()[0], reveal="labels")
    with pytest.raises(CannotRun, match="three columns"):
        run(target(filch.FeatureSpace.box([0, 0], [1, 1]))[0])


@pytest.mark.parametrize("space", [BOX, MIXED])
def test_the_contract(space):
    check_attack(KernelLogistic(), filch.ModelOracle(target(space, count=5)[0], space), budget=250)
