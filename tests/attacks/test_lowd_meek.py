import math
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.datasets import make_circles
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

import filch
from filch.attacks.lowd_meek import LowdMeek
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle, OracleSpec, Reply
from filch.errors import CannotRun, UsageError
from filch.testing import check_attack


@dataclass(frozen=True)
class Plane:
    """A linear target over the scaled view of a box."""

    space: FeatureSpace
    w: tuple[float, ...]
    bias: float
    classes_ = np.array(["no", "yes"])

    def predict(self, rows):
        return self.classes_[(OneHot(self.space).encode(rows) @ np.array(self.w) + self.bias > 0).astype(int)]


class Refusing:
    """Refuses a fixed share of all rows, by their content."""

    local = True

    def __init__(self, inner, share):
        self.inner, self.share, self.spec = inner, share, inner.spec

    def fingerprint(self):
        return "refusing " + self.inner.fingerprint()

    def answer(self, batches):
        for reply in self.inner.answer(batches):
            refused = np.array([zlib.crc32(row.tobytes()) % 1_000 < 1_000 * self.share for row in reply.answers.rows])
            labels = np.where(refused, 0, reply.answers.labels)
            yield Reply(reply.batch, replace(reply.answers, labels=labels, refused=refused))


def plane(d, seed, bias=0.2):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-100, 100, d)
    space = FeatureSpace.box(low, low + 10.0 ** rng.uniform(-3, 3, d))
    return Plane(space, tuple(rng.standard_normal(d)), bias)


def labels_of(target):
    return ModelOracle(target, target.space, reveal="labels")


def direction(w, bias):
    whole = np.append(w, bias)
    return whole / np.linalg.norm(whole)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("d", [1, 2, 7, 40])
def test_the_hyperplane_is_recovered_up_to_scale(d, seed):
    target = plane(d, seed)
    run = filch.extract(labels_of(target), attack=LowdMeek(), budget=5_000, seed=seed)
    assert run.outcome == "verified", run.reason
    off = direction(run.model.coef_[0], run.model.intercept_[0]) - direction(target.w, target.bias)
    assert np.abs(off).max() < 1e-5
    assert filch.fidelity(labels_of(target), run.model).r_unif <= 1e-3
    halvings = math.ceil(math.log2(1 / 1e-6))
    look = run.ledger["attack"].phases["both classes"]
    assert run.queries - look <= d * (1 + halvings) + 2 * halvings
    assert run.selection == 8
    assert run.requests <= 3 * halvings + 1 + 8  # lockstep: not one a query


def test_a_finer_precision_costs_a_query_a_weight_and_bit():
    target = plane(20, 0)
    coarse, fine = (
        filch.extract(labels_of(target), attack=LowdMeek(precision=2.0**-k), budget=5_000) for k in (10, 14)
    )
    assert fine.ledger["attack"].phases["weights"] - coarse.ledger["attack"].phases["weights"] == 20 * 4


def test_a_feature_that_does_not_matter_and_one_that_cannot_move():
    space = FeatureSpace.box([-1, -1, -1, 3], [1, 1, 1, 3])
    run = filch.extract(labels_of(Plane(space, (1.0, 0.0, -2.0, 5.0), 0.1)), attack=LowdMeek(), budget=500)
    assert run.outcome == "verified"
    coef = run.model.coef_[0] / run.model.coef_[0, 0]
    assert abs(coef[1]) < 1e-5 and coef[3] == 0.0
    assert coef[2] == pytest.approx(-2.0, abs=1e-5)
    assert run.evidence["weights below the precision"] == ["x1"]


def test_one_class_only_ends_as_a_constant():
    target = Plane(FeatureSpace.box([-1] * 3, [1] * 3), (0.1, 0.1, 0.1), 5.0)
    run = filch.extract(labels_of(target), attack=LowdMeek(), budget=100)
    assert (run.outcome, run.queries) == ("budget_spent", 100)
    assert "only one class" in run.reason
    assert set(run.model.predict(target.space.sample(50, np.random.default_rng(0)))) == {"yes"}


def test_a_rare_class_is_found_in_the_corners():
    target = Plane(FeatureSpace.box([-1] * 8, [1] * 8), (1.0,) * 8, 6.5)  # one corner in 256
    run = filch.extract(labels_of(target), attack=LowdMeek(), budget=3_000)
    assert run.outcome == "verified", run.reason
    off = direction(run.model.coef_[0], run.model.intercept_[0]) - direction(target.w, target.bias)
    assert np.abs(off).max() < 1e-4


def test_known_rows_of_both_classes_save_the_look():
    target = plane(5, 3)
    oracle = labels_of(target)
    known = oracle.ask(target.space.sample(50, np.random.default_rng(0)))
    run = filch.extract(oracle, attack=LowdMeek(), budget=500, known=known)
    assert run.outcome == "verified"
    assert "both classes" not in run.ledger["attack"].phases


def test_a_target_that_is_not_linear_is_noticed():
    X, y = make_circles(400, noise=0.05, factor=0.4, random_state=0)
    oracle = ModelOracle(SVC().fit(X, y), FeatureSpace.box(X.min(axis=0), X.max(axis=0)), reveal="labels")
    run = filch.extract(oracle, attack=LowdMeek(), budget=1_000)
    assert run.outcome == "class_mismatch" and "not linear" in run.reason
    assert run.evidence["agreed"] < run.evidence["checked"] == 8


def test_without_check_the_outcome_is_unverified():
    run = filch.extract(labels_of(plane(3, 0)), attack=LowdMeek(check=0), budget=500)
    assert (run.outcome, run.selection) == ("unverified", 0)


@pytest.mark.parametrize("budget", [1, 2, 20, 40, 70, 150, 250])
def test_a_budget_that_ends_early_leaves_the_best_plane_so_far(budget):
    run = filch.extract(labels_of(plane(10, 1)), attack=LowdMeek(), budget=budget)
    assert run.outcome == "budget_spent"
    assert run.ledger.paid == budget
    assert run.model is not None


def test_more_budget_brings_a_closer_plane():
    oracle = labels_of(plane(10, 1))
    errors = [
        filch.fidelity(oracle, filch.extract(oracle, attack=LowdMeek(), budget=b).model).r_unif for b in (75, 130, 270)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_refused_rows_are_asked_elsewhere():
    target = plane(8, 2)
    run = filch.extract(Refusing(labels_of(target), 0.1), attack=LowdMeek(), budget=2_000)
    assert run.evidence["weights searched"] >= 5
    full = filch.extract(labels_of(target), attack=LowdMeek(), budget=2_000)
    assert run.queries > 0.8 * full.queries


def test_probabilities_are_not_needed_but_do_no_harm():
    X = np.random.default_rng(0).uniform(size=(200, 4))
    model = LogisticRegression().fit(X, (X @ [1, -2, 3, -1] > 0.4).astype(int))
    run = filch.extract(ModelOracle(model, FeatureSpace.box([0] * 4, [1] * 4)), attack=LowdMeek(), budget=500)
    assert run.outcome == "verified"


@pytest.mark.parametrize(
    ("space", "classes"),
    [
        (FeatureSpace.box([0, 0], [1, 1]), ("a", "b", "c")),
        (FeatureSpace.box([0, 0], [1, 1]), None),
        (FeatureSpace((Numeric("a", 0, 9, integer=True), Categorical("b", ("x", "y")))), ("a", "b")),
        (FeatureSpace((Numeric("a", 0, 9, integer=True),)), ("a", "b")),
        (FeatureSpace((Numeric("a", 0, 1, step=0.1),)), ("a", "b")),
        (FeatureSpace.box([1], [1]), ("a", "b")),
    ],
)
def test_what_it_cannot_attack_it_says(space, classes):
    assert LowdMeek().needs(OracleSpec(space, classes, filch.Reveal("labels" if classes else "value")))


def test_it_does_not_start_where_it_cannot_run():
    target = LogisticRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 2])
    with pytest.raises(CannotRun, match="retraining"):
        filch.extract(ModelOracle(target, FeatureSpace.box([0], [2])), attack="lowd-meek", budget=10)


@pytest.mark.parametrize("parameters", [{"precision": 0.5}, {"precision": 0.0}, {"check": -1}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(UsageError):
        LowdMeek(**parameters)


# ── categories and steps ────────────────────────────────────────────────────────────────────────────────────────────


def mixed():
    numbers = (Numeric("n", 18, 90), Numeric("sum", -5.0, 1e4), Numeric("hours", 0, 99, integer=True))
    return FeatureSpace((*numbers, *(Categorical(f"c{j}", tuple("abcde")[: 2 + j]) for j in range(4))))


@dataclass(frozen=True)
class MixedPlane(Plane):
    """The same over raw rows."""

    def predict(self, rows):
        coded = self.space.encode(rows)
        return self.classes_[(OneHot(self.space).encode(coded) @ np.array(self.w) + self.bias > 0).astype(int)]


def mixed_plane(space, seed, strength=1.0):
    rng, view = np.random.default_rng(seed), OneHot(space)
    w = rng.standard_normal(view.width)
    w[[view.starts[column] for column in np.flatnonzero(space.grid == 0)]] /= strength
    scores = view.encode(space.sample(4_000, rng)) @ w
    return MixedPlane(space, tuple(w), float(-np.median(scores)))


@pytest.mark.parametrize("seed", range(5))
def test_categories_and_steps_are_made_up_for_by_numbers(seed):
    target = mixed_plane(mixed(), seed)
    run = filch.extract(labels_of(target), attack=LowdMeek(), budget=5_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(labels_of(target), run.model).r_unif <= 1e-3
    if not run.evidence["of these only bounds"]:  # the same weights up to scale
        ours = run.model.canonical()
        view = OneHot(target.space)
        told = filch.models.LogisticModel(target.space, ("a", "b"), np.array([target.w]), np.array([target.bias]))
        theirs = told.canonical()
        off = direction(ours.coef_[0], ours.intercept_[0]) - direction(theirs.coef_[0], theirs.intercept_[0])
        assert np.abs(off).max() < 1e-4
        assert run.queries < 2_000 and run.evidence["categories and steps searched"] == view.free - 2


@pytest.mark.parametrize("seed", range(5))
def test_weights_that_no_number_makes_up_for_are_put_where_labels_want_them(seed):
    target = mixed_plane(mixed(), seed, strength=20.0)
    run = filch.extract(labels_of(target), attack=LowdMeek(), budget=20_000, seed=seed)
    assert run.outcome in ("verified", "approximate", "budget_spent"), run.reason
    if run.outcome == "verified":
        assert filch.fidelity(labels_of(target), run.model).r_unif <= 0.1
    else:
        assert "bounds" in run.reason or "no line" in run.reason


@pytest.mark.parametrize("degree", [1, 2])
def test_the_contract_is_kept_over_categories(degree):
    check_attack(LowdMeek(degree=degree, precision=1e-3), labels_of(mixed_plane(mixed(), 0)), budget=60)


# ── polynomial kernels ──────────────────────────────────────────────────────────────────────────────────────────────


def curved(d, degree, seed, coef0=1.0):
    rng = np.random.default_rng(seed)
    space = FeatureSpace.box(-rng.uniform(0, 2, d), rng.uniform(1, 3, d))
    X = space.sample(300, rng)
    scores = X @ rng.standard_normal(d) + X**2 @ rng.standard_normal(d) + 3 * X[:, 0] * X[:, 1]
    model = SVC(kernel="poly", degree=degree, coef0=coef0, gamma=0.5, C=10).fit(X, scores > np.median(scores))
    return ModelOracle(model, space, reveal="labels")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("degree", "coef0"), [(2, 1.0), (2, 0.0), (3, 1.0), (3, 0.0)])
def test_polynomial_kernels_are_linear_in_their_monomials(degree, coef0, seed):
    oracle = curved(4, degree, seed, coef0)
    run = filch.extract(oracle, attack=LowdMeek(degree=degree), budget=5_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3
    weights = run.evidence["weights"]
    assert run.queries <= 22 * (1.15 * weights + 4) + 64
    assert run.requests <= 40  # lockstep


@pytest.mark.parametrize("seed", range(3))
def test_a_plane_is_a_polynomial_too(seed):
    target = plane(4, seed)
    run = filch.extract(labels_of(target), attack=LowdMeek(degree=2), budget=5_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(labels_of(target), run.model).r_unif <= 1e-3


def test_a_target_of_another_kind_is_no_polynomial():
    X = np.random.default_rng(0).uniform(-1, 1, (400, 3))
    model = SVC(gamma=20.0).fit(X, np.sin(6 * X[:, 0]) * np.sin(6 * X[:, 1]) > 0)
    oracle = ModelOracle(model, FeatureSpace.box([-1, -1, -1], [1, 1, 1]), reveal="labels")
    run = filch.extract(oracle, attack=LowdMeek(degree=2), budget=2_000)
    assert run.outcome == "class_mismatch" and "no" in run.reason


def test_a_polynomial_of_one_class_ends_as_a_constant():
    target = Plane(FeatureSpace.box([-1] * 3, [1] * 3), (0.1, 0.1, 0.1), 5.0)
    run = filch.extract(labels_of(target), attack=LowdMeek(degree=2), budget=100)
    assert (run.outcome, run.queries) == ("budget_spent", 100) and "only one class" in run.reason
    assert set(run.model.predict(target.space.sample(50, np.random.default_rng(0)))) == {"yes"}
