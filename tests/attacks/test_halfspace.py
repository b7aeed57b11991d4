from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

import filch
from filch.attacks.halfspace import Halfspace
from filch.attacks.linear.halfspaces import LabelBelief
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle, OracleSpec
from filch.errors import UsageError
from filch.testing import check_attack
from filch.testing.wrappers import Flipping, Refusing


@dataclass(frozen=True)
class Plane:
    """A linear target over the encoded view of a space."""

    space: FeatureSpace
    w: tuple[float, ...]
    bias: float
    classes_ = np.array(["no", "yes"])

    def predict(self, rows):
        coded = self.space.encode(rows)
        return self.classes_[(OneHot(self.space).encode(coded) @ np.array(self.w) + self.bias > 0).astype(int)]


def box(d):
    return FeatureSpace.box([-1] * d, [1] * d)


def hot(d):
    return FeatureSpace(tuple(Categorical(f"c{j}", tuple("abcde")[: 2 + j % 4]) for j in range(d)))


def mixed():
    numbers = (Numeric("age", 18, 90, integer=True), Numeric("sum", -5.0, 1e4), Numeric("still", 3.0, 3.0))
    return FeatureSpace((*numbers, Categorical("city", ("a", "b", "c", "d")), Categorical("flag", (False, True))))


def target(space, seed):
    rng, view = np.random.default_rng(seed), OneHot(space)
    w = rng.standard_normal(view.width)
    scores = view.encode(space.sample(4_000, rng)) @ w
    return Plane(space, tuple(w), float(-np.median(scores) + 0.3 * scores.std() * rng.standard_normal()))


def labels_of(plane):
    return ModelOracle(plane, plane.space, reveal="labels")


def ball(seed):
    rows = np.random.default_rng(seed).uniform(-1, 1, (400, 6))
    model = SVC(C=100).fit(rows, (rows**2).sum(axis=1) > 2)
    return ModelOracle(model, box(6), reveal="labels")


def errors(oracle, per, seeds=range(5), n=20_000, share=0.0, **settings):
    """R_unif at so many queries a parameter, over seeds."""
    found = []
    for seed in seeds:
        honest = asked = oracle(seed)
        if share:
            asked = Flipping(honest, share, seed)
        size = OneHot(asked.spec.space).free + 1
        attack = Halfspace(**{"precision": 1e-12, "check": 0, **settings})
        run = filch.extract(asked, attack=attack, budget=int(per * size), seed=seed)
        found.append(filch.fidelity(honest, run.model, n_uniform=n).r_unif)
    return np.array(found)


def angle(run, plane):
    found, true = (np.append(w, b) for w, b in ((run.model.coef_[0], run.model.intercept_[0]), (plane.w, plane.bias)))
    return np.linalg.norm(found / np.linalg.norm(found) - true / np.linalg.norm(true))


@pytest.mark.parametrize(("per", "most"), [(7, 1e-2), (11, 1e-3)])
def test_few_queries_a_parameter_are_enough(per, most):
    assert np.median(errors(lambda seed: labels_of(target(box(10), seed)), per)) <= most


def test_one_hot_rows_cost_at_most_a_third_more():
    assert np.median(errors(lambda seed: labels_of(target(hot(4), seed)), 7 * 1.3)) <= 1e-2


def test_flipped_labels_cost_more_queries_and_no_more():
    found = errors(lambda seed: labels_of(target(box(5), seed)), 40, share=0.1, flips=0.1)
    assert np.median(found) <= 1e-2


@pytest.mark.parametrize("seed", range(8))
def test_flips_among_the_first_labels_do_not_lead_astray_for_good(seed):
    found = errors(lambda _: labels_of(target(box(2), seed)), 40, seeds=[seed], share=0.1, flips=0.1)
    assert found.max() <= 0.03


def test_a_share_of_flips_is_found_out():
    run = filch.extract(
        Flipping(labels_of(target(box(10), 0)), 0.1, 0),
        attack=Halfspace(precision=1e-3, flips=None),
        budget=2_000,
    )
    assert run.outcome == "verified", run.reason
    assert 0.02 < run.evidence["flips"] < 0.25  # 0.1 of 64 rows, to within three deviations


@pytest.mark.parametrize("seed", range(3))
def test_nine_digits(seed):
    plane = target(box(6), seed)
    run = filch.extract(labels_of(plane), attack=Halfspace(precision=1e-9), budget=45 * 7, seed=seed)
    assert run.outcome == "verified", run.reason
    assert angle(run, plane) <= 3e-9  # the expected angle is 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_integers_categories_and_columns_that_cannot_move(seed):
    oracle = labels_of(target(mixed(), seed))
    run = filch.extract(oracle, attack="halfspace", budget=1_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


def test_batches_take_fewer_requests_and_a_few_queries_more():
    def oracle(seed):
        return labels_of(target(box(6), seed))

    single, batched = errors(oracle, 9), errors(oracle, 9 * 1.3, batch=5)
    assert np.median(batched) <= 1.5 * np.median(single)
    run = filch.extract(oracle(0), attack=Halfspace(batch=5, check=0), budget=100)
    assert run.requests == 20


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_class_is_found_in_the_corners(seed):
    plane = Plane(box(8), (1.0,) * 8, 6.5)  # one corner in 256
    run = filch.extract(labels_of(plane), attack=Halfspace(), budget=3_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert angle(run, plane) < 1e-5


@pytest.mark.parametrize("space", [box(3), FeatureSpace((Categorical("a", ("x", "y")), Categorical("b", ("x", "y"))))])
def test_one_class_only_ends_as_a_constant(space):
    plane = Plane(space, (0.1,) * OneHot(space).width, 5.0)
    run = filch.extract(labels_of(plane), attack=Halfspace(), budget=5_000)
    assert run.outcome == "approximate" and "only one class" in run.reason
    assert set(run.model.predict(space.sample(50, np.random.default_rng(0)))) == {"yes"}


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_is_not_linear_is_told(seed):
    run = filch.extract(ball(seed), attack=Halfspace(), budget=1_000, seed=seed)
    assert run.outcome == "none_fits", run.reason
    assert "not linear" in run.reason
    rows, said = np.split(np.array(run.evidence["contradiction"]), [6], axis=1)
    assert 3 <= len(rows) == run.evidence["contradictory rows"] <= 8
    # No linear model gives them: the rows of both classes, weighed, have a point in common.
    signed = np.column_stack([rows, np.ones(len(rows))]) * np.where(said, 1, -1)
    weights = nnls(np.vstack([signed.T, np.ones(len(rows))]), np.eye(8)[-1])
    assert weights[1] < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_flips_that_are_to_be_estimated_do_not_make_a_ball_linear(seed):
    run = filch.extract(ball(seed), attack=Halfspace(flips=None), budget=1_000, seed=seed)
    assert run.outcome in ("none_fits", "unverified")  # few labels are certain where any may be flipped


@pytest.mark.parametrize("budget", [1, 2, 10, 40, 100])
def test_a_budget_that_ends_early_leaves_the_best_plane_so_far(budget):
    run = filch.extract(labels_of(target(box(10), 1)), attack=Halfspace(), budget=budget)
    assert (run.outcome, run.ledger.paid) == ("budget_spent", budget)
    assert run.model is not None


def test_known_rows_save_queries():
    oracle = labels_of(target(box(5), 3))
    known = oracle.ask(oracle.spec.space.sample(300, np.random.default_rng(0)))
    with_known, without = (
        filch.extract(oracle, attack=Halfspace(precision=1e-3), budget=500, **more) for more in ({"known": known}, {})
    )
    assert with_known.queries < without.queries


def test_the_contract_is_kept():
    check_attack(Halfspace(precision=1e-3), labels_of(target(box(3), 0)), budget=30)


def test_labels_weighed_anew_do_not_depend_on_their_order():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 4))
    beliefs = []
    for order in (np.arange(40), rng.permutation(40)):
        belief = LabelBelief(np.ones(4))
        for x in rows[order]:
            belief.hear(x, bool(x[0] > 0))
        raw = belief.mean.copy()
        assert belief.settle()
        beliefs.append((raw, belief.mean))
    (one, settled), (other, again) = beliefs
    assert np.abs(settled - again).max() < 0.02 < np.abs(one - other).max()


@pytest.mark.parametrize(
    ("space", "classes"),
    [(box(2), ("a", "b", "c")), (box(2), None), (FeatureSpace.box([1], [1]), ("a", "b")), (box(3_000), ("a", "b"))],
)
def test_what_it_cannot_attack_it_says(space, classes):
    why = Halfspace().needs(OracleSpec(space, classes, filch.Reveal("labels" if classes else "value")))
    assert why and ("softmax-labels" in why) == (len(classes or ()) > 2)


@pytest.mark.parametrize(
    "parameters", [{"precision": 1.0}, {"flips": 0.5}, {"batch": 0}, {"most": 0}, {"check": -1}, {"flips": -0.1}]
)
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(UsageError):
        Halfspace(**parameters)


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("names", [("no", "yes"), (False, True), (3, 7), (-1.0, 1.0)])
def test_classes_of_any_type_come_back_as_the_target_names_them(names):
    rows = np.random.default_rng(0).uniform(-1, 1, (300, 4))
    model = LogisticRegression().fit(rows, np.array(names)[(rows @ [1, -2, 0.5, 1] > 0.3).astype(int)])
    oracle = ModelOracle(model, box(4), reveal="labels")
    run = filch.extract(oracle, attack="halfspace", budget=500)
    assert run.outcome == "verified", run.reason
    assert run.model.predict(rows).dtype == model.predict(rows).dtype
    assert filch.fidelity(oracle, run.model).r_unif == 0.0


def test_duplicated_constant_and_pointless_columns():
    class Doubled(Plane):
        def predict(self, rows):
            twice = np.column_stack([rows[:, 0] + rows[:, 1], rows[:, 2], rows[:, 3]])
            return self.classes_[(twice @ [1.0, 1.0, 0.0] > 0.2).astype(int)]

    space = FeatureSpace.box([-1, -1, 5, -1], [1, 1, 5, 1])  # x2 cannot move, x3 does nothing
    plane = Doubled(space, (1.0, 1.0, 0.0, 0.0), 4.8)
    run = filch.extract(labels_of(plane), attack="halfspace", budget=500)
    assert run.outcome == "approximate" and "only one class" in run.reason  # x2 = 5 decides alone
    plane = Plane(FeatureSpace.box([-1, -1, 5, -1], [1, 1, 5, 1]), (1.0, 1.0, 3.0, 0.0), 0.2)
    run = filch.extract(labels_of(plane), attack="halfspace", budget=500)
    assert run.outcome == "verified", run.reason
    coef = run.model.coef_[0] / run.model.coef_[0, 0]
    assert coef == pytest.approx([1.0, 1.0, 0.0, 0.0], abs=1e-4)


def test_a_column_given_twice_counts_as_any_other():
    rows = np.random.default_rng(1).uniform(-1, 1, (300, 3))
    twice = np.column_stack([rows, rows[:, 0]])
    model = LogisticRegression().fit(twice, rows @ [1.0, -1.0, 0.5] > 0.1)
    oracle = ModelOracle(model, box(4), reveal="labels")
    run = filch.extract(oracle, attack="halfspace", budget=500)
    assert run.outcome == "verified", run.reason
    assert run.model.coef_[0, 0] == pytest.approx(run.model.coef_[0, 3], rel=1e-4)


@pytest.mark.parametrize(
    ("feature", "threshold"),
    [
        (Numeric("x", 0, 1), 0.37),
        (Numeric("x", -1e6, 1e-3), -2e5),
        (Numeric("x", 0, 10, integer=True), 6.5),
        (Numeric("x", 0, 1, integer=True), 0.5),
        (Categorical("x", ("a", "b")), 0.5),
        (Categorical("x", ("a", "b", "c")), 1.5),
    ],
)
def test_a_single_feature(feature, threshold):
    class Step:
        classes_ = np.array(["low", "high"])

        def predict(self, rows):
            return self.classes_[(space.encode(rows)[:, 0] > threshold).astype(int)]

    space = FeatureSpace((feature,))
    oracle = ModelOracle(Step(), space, reveal="labels")
    run = filch.extract(oracle, attack="halfspace", budget=500)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_of_a_few_rows_all_are_asked(seed):
    space = FeatureSpace((Categorical("a", ("x", "y")), Categorical("b", ("x", "y"))))
    plane = Plane(space, (0.0, 1.0, 0.0, 1.0), -1.5)  # a and b
    run = filch.extract(labels_of(plane), attack="halfspace", budget=50, seed=seed)
    assert run.outcome == "verified", run.reason
    assert run.queries + run.selection <= 4
    assert filch.fidelity(labels_of(plane), run.model).r_unif == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_exclusive_or_is_told(seed):
    class Xor:
        classes_ = np.array(["no", "yes"])

        def predict(self, rows):
            coded = space.encode(rows)
            return self.classes_[(coded[:, 0] != coded[:, 1]).astype(int)]

    space = FeatureSpace((Categorical("a", ("x", "y")), Categorical("b", ("x", "y"))))
    run = filch.extract(ModelOracle(Xor(), space, reveal="labels"), attack="halfspace", budget=50, seed=seed)
    assert run.outcome == "none_fits" and run.evidence["contradictory rows"] == 4, run.reason


def test_flips_that_nobody_told_of_contradict_every_linear_model():
    oracle = Flipping(labels_of(target(box(6), 0)), 0.1)
    run = filch.extract(oracle, attack="halfspace", budget=1_000)
    assert run.outcome == "none_fits" and "flips=None" in run.reason


def test_refused_rows_are_asked_elsewhere():
    run = filch.extract(Refusing(labels_of(target(box(6), 2)), 0.2), attack="halfspace", budget=1_000)
    assert run.outcome == "verified", run.reason
    nothing = filch.extract(Refusing(labels_of(target(box(2), 2)), 1.1), attack="halfspace", budget=2_000)
    assert nothing.model is None and "no row was answered" in nothing.reason


@pytest.mark.parametrize("attack", [Halfspace(precision=1e-3, batch=8), Halfspace(precision=1e-2, flips=0.05)])
def test_the_contract_is_kept_in_batches_and_with_flips(attack):
    check_attack(attack, labels_of(target(mixed(), 0)), budget=25)


# ── polynomial kernels ──────────────────────────────────────────────────────────────────────────────────────────────


def curved(d, degree, seed, coef0=1.0):
    rng = np.random.default_rng(seed)
    space = FeatureSpace.box(-rng.uniform(0, 2, d), rng.uniform(1, 3, d))
    X = space.sample(300, rng)
    scores = X @ rng.standard_normal(d) + X**2 @ rng.standard_normal(d) + 3 * X[:, 0] * X[:, 1]
    model = SVC(kernel="poly", degree=degree, coef0=coef0, gamma=0.5, C=10).fit(X, scores > np.median(scores))
    return ModelOracle(model, space, reveal="labels")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("degree", "coef0"), [(2, 1.0), (2, 0.0), (3, 1.0)])
def test_polynomial_kernels_are_halved_in_the_space_of_monomials(degree, coef0, seed):
    oracle = curved(4 if degree == 2 else 3, degree, seed, coef0)
    run = filch.extract(oracle, attack=Halfspace(degree=degree, precision=1e-3), budget=2_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert f"degree {degree}" in run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 2e-3
    assert run.queries <= 20 * run.evidence["parameters"]


def test_a_polynomial_over_categories():
    space = mixed()
    oracle = labels_of(target(space, 1))
    run = filch.extract(oracle, attack=Halfspace(degree=2, precision=1e-2), budget=1_500)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 0.02


def test_a_target_that_is_no_polynomial_is_told():
    run = filch.extract(ball(0), attack=Halfspace(degree=2), budget=3_000)
    waves = SVC(gamma=20.0).fit(
        rows := np.random.default_rng(0).uniform(-1, 1, (500, 2)), np.sin(6 * rows[:, 0]) * np.sin(6 * rows[:, 1]) > 0
    )
    run = filch.extract(ModelOracle(waves, box(2), reveal="labels"), attack=Halfspace(degree=2), budget=1_000)
    assert run.outcome == "none_fits" and "no polynomial of degree 2" in run.reason
