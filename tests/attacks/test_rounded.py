"""Rounded answers: intervals instead of numbers, rows that say most, other classes of model and poor answers."""

import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.special import expit
from sklearn.datasets import load_iris, make_blobs
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier

import filch
from filch.attacks.linear.belief import Belief, bounds, logits
from filch.attacks.linear.moments import truncated
from filch.attacks.linear.renormalised import division, restored, restoring
from filch.attacks.logistic import Logistic
from filch.models.logistic import probabilities
from filch.testing import check_attack
from tests.attacks.test_logistic import mixed_space, target_of

X, y = load_iris(return_X_y=True)
SPACE = filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))
SOFTMAX = LogisticRegression(max_iter=1_000).fit(X, y)
OVR = OneVsRestClassifier(LogisticRegression(max_iter=1_000)).fit(X, y)
SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_doubt_shrinks_far_below_the_rounding(decimals, seed):
    oracle = filch.ModelOracle(SOFTMAX, SPACE, decimals=decimals)
    run = filch.extract(oracle, Logistic(), budget=158, seed=seed)  # α = 10
    assert run.outcome == "verified", run.reason
    found = filch.fidelity(oracle, run.model, X_test=X)
    assert found.r_test == 0.0 and found.r_unif <= 1e-4 and found.r_tv_unif < 1e-3 * max(1e-2, 10.0**-decimals)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_vs_rest_is_recognised(seed):
    oracle = filch.ModelOracle(OVR, SPACE, decimals=2)
    run = filch.extract(oracle, Logistic(), budget=300, seed=seed)
    assert run.outcome == "verified" and run.model.link == "ovr", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


class Normalised:
    """A one-vs-rest model that rounds each score, makes them sum to 1, and rounds again, as BigML's does."""

    classes_ = OVR.classes_

    def __init__(self, decimals):
        self.decimals = decimals

    def predict_proba(self, X):
        scores = np.round(
            expit(np.column_stack([part.decision_function(X) for part in OVR.estimators_])), self.decimals
        )
        return np.round(scores / scores.sum(axis=1, keepdims=True), self.decimals)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [3, 5])
def test_scores_that_were_normalised_after_rounding(decimals, seed):
    oracle = filch.ModelOracle(Normalised(decimals), SPACE)
    run = filch.extract(oracle, Logistic(), budget=300, seed=seed)
    assert run.outcome == "verified" and run.model.link == "ovr", run.reason
    assert filch.fidelity(filch.ModelOracle(OVR, SPACE), run.model).r_tv_unif < 10.0**-decimals


class Divided:
    """A model whose scores are rounded and then made to sum to 1, with all the digits of a float."""

    classes_ = SOFTMAX.classes_

    def __init__(self, scores, decimals):
        self.scores, self.decimals = scores, decimals

    def predict_proba(self, X):
        rounded = np.round(self.scores(X), self.decimals)
        rounded[~rounded.any(axis=1)] = 1.0  # equal shares where all are rounded to 0
        return rounded / rounded.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def one_vs_rest_scores(X):
    return expit(np.column_stack([part.decision_function(X) for part in OVR.estimators_]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
def test_a_softmax_that_is_rounded_and_divided_by_its_sum(decimals, seed):
    oracle = filch.ModelOracle(Divided(SOFTMAX.predict_proba, decimals), SPACE)
    run = filch.extract(oracle, Logistic(), budget=200, seed=seed)
    assert run.outcome == "verified" and run.model.link == "softmax", run.reason
    found = filch.fidelity(filch.ModelOracle(SOFTMAX, SPACE), run.model, X_test=X)
    assert found.r_test == found.r_unif == 0.0 and found.r_tv_unif < 0.01 * 10.0**-decimals


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [1, 2, 3, 4])
def test_one_vs_rest_that_is_rounded_and_divided_by_its_sum(decimals, seed):
    oracle = filch.ModelOracle(Divided(one_vs_rest_scores, decimals), SPACE)
    run = filch.extract(oracle, Logistic(), budget=300, seed=seed)
    assert run.outcome == "verified" and run.model.link == "ovr", run.reason
    assert filch.fidelity(filch.ModelOracle(OVR, SPACE), run.model).r_tv_unif < 10.0**-decimals


def test_a_row_that_several_sums_explain_counts_as_refused():
    shown = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [4 / 9, 4 / 9, 1 / 9]])
    answers = filch.Answers(np.zeros((3, 1)), probabilities=shown)
    before = restored(answers, 1)
    assert before.refused.tolist() == [True, False, False]
    assert np.allclose(before.probabilities, [[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.4, 0.4, 0.1]])
    assert not restored(answers, 1, divided=False).refused.any()


def test_later_answers_tell_that_sums_were_not_near_1():
    few = np.array([[4.0, 4.0, 2.0], [3.0, 3.0, 3.0], [5.0, 4.0, 2.0]])
    seen = filch.Answers(np.zeros((3, 1)), probabilities=few / few.sum(axis=1, keepdims=True))
    assert division(seen).near
    more = np.array([[9.0, 6.0, 2.0], [8.0, 6.0, 5.0]])
    later = filch.Answers(np.ones((2, 1)), probabilities=more / more.sum(axis=1, keepdims=True))
    assert not division(filch.Answers.concat([seen, later])).near

    def steps():
        yield filch.Ask(np.ones((2, 1)), "round 1")
        pytest.fail("the answers were passed on as if their sums had been near 1")

    asking = restoring(steps(), 1, seen)
    next(asking)
    with pytest.raises(StopIteration) as ended:
        asking.send(later)
    assert ended.value.value is None


@pytest.mark.parametrize("trees", [10, 50, 100])
def test_votes_are_not_taken_for_scores(trees):
    rows = SPACE.sample(200, np.random.default_rng(0))
    votes = RandomForestClassifier(trees, random_state=0).fit(X, y).predict_proba(rows)
    found = division(filch.Answers(rows, probabilities=votes))
    assert found is None or found.near


@pytest.mark.parametrize("seed", range(3))
def test_a_network_behind_coarse_rounding_is_not_verified_where_labels_differ(seed):
    wide, labels = make_blobs(400, n_features=3, centers=6, random_state=0, cluster_std=2.0)
    network = MLPClassifier((20,), max_iter=2_000, random_state=0).fit(wide, labels)
    oracle = filch.ModelOracle(network, filch.FeatureSpace.box(wide.min(axis=0), wide.max(axis=0)), decimals=2)
    run = filch.extract(oracle, Logistic(), budget=120, seed=seed)
    assert run.outcome != "verified", run.reason


@pytest.mark.parametrize("link", ["logistic", "softmax"])
@pytest.mark.parametrize("seed", SEEDS)
def test_categories_integers_and_constants(link, seed):
    space = mixed_space()
    oracle = filch.ModelOracle(target_of(space, link, seed), space, decimals=2)
    run = filch.extract(oracle, Logistic(), budget=200, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


def test_a_finite_space_is_never_asked_twice():
    space = filch.FeatureSpace(tuple(filch.Categorical(name, (0, 1, 2)) for name in "abc"))
    oracle = filch.ModelOracle(target_of(space, "softmax", 0), space, decimals=2)
    run = filch.extract(oracle, Logistic(), budget=500)
    assert run.outcome == "verified" and run.queries <= 27
    assert filch.fidelity(oracle, run.model).r_unif == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_another_class_of_model_is_noticed(seed):
    forest = RandomForestClassifier(n_estimators=37, random_state=0).fit(X, y)
    run = filch.extract(filch.ModelOracle(forest, SPACE, decimals=2), Logistic(), budget=400, seed=seed)
    assert run.outcome == "class_mismatch" and run.model is not None
    assert run.queries < 300


@pytest.mark.parametrize("seed", SEEDS)
def test_too_few_rows_are_no_mismatch(seed):
    run = filch.extract(filch.ModelOracle(SOFTMAX, SPACE, decimals=2), Logistic(), budget=3 + 8, seed=seed)
    assert run.outcome == "budget_spent" and "more rows are needed" in run.reason


@pytest.mark.parametrize("model", [SOFTMAX, OVR])
def test_the_contract_is_kept(model):
    check_attack(Logistic(), filch.ModelOracle(model, SPACE, decimals=2), budget=60)


def test_the_contract_is_kept_over_categories():
    space = mixed_space()
    check_attack(Logistic(), filch.ModelOracle(target_of(space, "softmax", 1), space, decimals=2), budget=60)


# ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────


def test_moments_agree_with_quadrature():
    rng = np.random.default_rng(0)
    low = rng.normal(size=200) * np.exp(rng.normal(size=200))
    high = low + np.exp(2 * rng.normal(size=200))
    high[::7], low[1::7] = np.inf, -np.inf
    means, variances = truncated(np.zeros(200), np.ones(200), low, high)
    for a, b, mean, variance in zip(low, high, means, variances, strict=True):
        peak = np.clip(0.0, a, b)
        x = np.linspace(max(a, peak - 15), min(b, peak + 15), 200_001)
        density = np.exp(0.5 * (peak - x) * (peak + x))
        mass, first, second = (simpson((x - peak) ** k * density, x=x) for k in range(3))
        assert mean == pytest.approx(peak + first / mass, abs=1e-3 * np.sqrt(variance))
        assert variance == pytest.approx(second / mass - (first / mass) ** 2, rel=5e-3)


@pytest.mark.parametrize("ovr", [False, True])
def test_slopes_of_logits(ovr):
    scores = np.random.default_rng(0).normal(size=(5, 4))
    value, slopes = logits(scores, one_vs_rest=ovr)
    p = probabilities(scores, "ovr" if ovr else "softmax")
    assert np.allclose(value, np.log(p) - np.log1p(-p))
    for j in range(4):
        step = np.zeros(4)
        step[j] = 1e-6
        above, below = (logits(scores + s * step, one_vs_rest=ovr)[0] for s in (1, -1))
        assert np.allclose((above - below) / 2e-6, slopes[:, :, j], atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_belief_meets_all_bounds_and_knows_its_own_error(seed):
    rng = np.random.default_rng(seed)
    design = np.column_stack([rng.uniform(-1, 1, size=(200, 6)), np.ones(200)])
    weights = rng.normal(size=(7, 4))
    shown = np.round(probabilities(design @ weights, "softmax"), 2)
    belief = Belief(7, 4)
    low, high = bounds(shown, 0.005)
    belief.hear(design, low, high)
    assert belief.settle()
    found, _ = logits(design @ belief.weights)
    assert ((low - 1e-6 <= found) & (found <= high + 1e-6)).all()
    off = (belief.weights - weights + (weights - belief.weights).mean(axis=1, keepdims=True)) @ belief.basis
    deviations = np.abs(off.T.reshape(-1)) / np.sqrt(belief.covariance.diagonal())
    assert 0.3 < np.sqrt((deviations**2).mean()) < 3.0


# ── top k ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("reveal", "most"), [("top-1", 40), ("top-2", 5)])
def test_the_highest_probabilities_are_enough(reveal, most, seed):
    oracle = filch.ModelOracle(SOFTMAX, SPACE, reveal=reveal)
    run = filch.extract(oracle, Logistic(), budget=300, seed=seed)
    assert run.outcome == "verified" and run.queries <= most, (run.reason, run.queries)
    found = filch.fidelity(oracle, run.model)
    assert found.r_unif == 0.0 and found.r_tv_unif < 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 2])
def test_top_k_of_more_classes(k, seed):
    rng = np.random.default_rng(seed)
    space = filch.FeatureSpace.box(np.full(6, -1.0), np.full(6, 1.0))
    records = rng.uniform(-1, 1, size=(400, 6))
    model = LogisticRegression(max_iter=1_000).fit(records, (records @ rng.normal(size=(6, 5))).argmax(axis=1))
    oracle = filch.ModelOracle(model, space, reveal=f"top-{k}")
    run = filch.extract(oracle, Logistic(), budget=600, seed=seed)
    assert run.outcome == "verified", run.reason
    answers = oracle.ask(space.sample(2_000, rng))  # what is never shown, as of classes never on top, stays open
    assert np.nanmax(np.abs(run.model.predict_proba(answers.rows) - answers.probabilities)) < 1e-9
    assert (run.model.predict(answers.rows) == answers.labels).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reveal", ["top-1", "top-2"])
@pytest.mark.parametrize("told", [True, False])
def test_rounded_top_k(reveal, seed, told):
    shown = filch.ModelOracle(SOFTMAX, SPACE, reveal=reveal, decimals=2)
    oracle = shown if told else Silent(shown)
    run = filch.extract(oracle, Logistic(), budget=400, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(shown, run.model).r_unif <= 1e-3


class Silent:
    """An oracle that rounds and does not say so."""

    local = True

    def __init__(self, oracle):
        self.oracle = oracle
        self.spec = filch.OracleSpec(oracle.spec.space, oracle.spec.classes, filch.Reveal(oracle.spec.reveal.level))

    def fingerprint(self):
        return "silent " + self.oracle.fingerprint()

    def answer(self, batches):
        return self.oracle.answer(batches)


def test_top_k_with_many_unknowns_is_refused():
    space = filch.FeatureSpace.box(np.zeros(1_000), np.ones(1_000))
    spec = filch.OracleSpec(space, ("a", "b", "c"), filch.Reveal("top-1"))
    assert "2,000 unknowns" in Logistic().needs(spec)
