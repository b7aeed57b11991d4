from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC

import filch
from filch.attacks.linear.contests import ClassBelief
from filch.attacks.softmax_labels import SoftmaxLabels
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle, OracleSpec
from filch.errors import UsageError
from filch.testing import check_attack
from filch.testing.wrappers import Flipping, Refusing


@dataclass(frozen=True)
class Scores:
    """The class of the highest of several affine scores over the encoded view of a space."""

    space: FeatureSpace
    weights: tuple[tuple[float, ...], ...]
    names: tuple[object, ...]

    @property
    def classes_(self):
        return np.array(self.names)

    def predict(self, rows):
        table = np.array(self.weights)
        scores = OneHot(self.space).encode(self.space.encode(rows)) @ table[:, :-1].T + table[:, -1]
        return self.classes_[scores.argmax(axis=1)]


def box(d):
    return FeatureSpace.box([-1] * d, [1] * d)


def hot(d):
    return FeatureSpace(tuple(Categorical(f"c{j}", tuple("abcde")[: 2 + j % 4]) for j in range(d)))


def mixed():
    numbers = (Numeric("age", 18, 90, integer=True), Numeric("sum", -5.0, 1e4), Numeric("still", 3.0, 3.0))
    return FeatureSpace((*numbers, Categorical("city", ("a", "b", "c", "d")), Categorical("flag", (False, True))))


def target(space, classes, seed, names=None):
    weights = np.random.default_rng(seed).standard_normal((classes, OneHot(space).width + 1))
    weights[:, -1] *= 0.5
    return Scores(space, tuple(map(tuple, weights)), names or tuple(f"k{i}" for i in range(classes)))


def labels_of(model):
    return ModelOracle(model, model.space, reveal="labels")


def unknowns(space, classes):
    return (classes - 1) * (OneHot(space).free + 1)


def errors(oracle, per, seeds=range(5), n=20_000, **settings):
    """R_unif at so many queries an unknown, over seeds."""
    found = []
    for seed in seeds:
        asked = oracle(seed)
        attack = SoftmaxLabels(**{"precision": 1e-7, "check": 0, **settings})
        budget = int(per * unknowns(asked.spec.space, asked.spec.n_classes))
        run = filch.extract(asked, attack=attack, budget=budget, seed=seed)
        found.append(filch.fidelity(asked, run.model, n_uniform=n).r_unif)
    return np.array(found)


@pytest.mark.parametrize(("classes", "per"), [(2, 11), (3, 10)])
def test_one_label_in_a_thousand_is_another_after_ten_rows_an_unknown(classes, per):
    assert np.median(errors(lambda seed: labels_of(target(box(10), classes, seed)), per)) <= 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_categories_alone(seed):
    oracle = labels_of(target(hot(6), 4, seed))
    run = filch.extract(oracle, attack="softmax-labels", budget=2_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 2 / 720  # of 720 rows there are


@pytest.mark.parametrize("seed", range(5))
def test_integers_categories_and_columns_that_cannot_move(seed):
    oracle = labels_of(target(mixed(), 3, seed))
    run = filch.extract(oracle, attack="softmax-labels", budget=1_000, seed=seed)
    # Where two classes meet nowhere near a third, the scale of their difference stays open, and with it the estimate.
    assert run.outcome in ("verified", "no_convergence"), run.reason
    assert run.evidence["agreed"] == run.evidence["checked"] == 8
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3
    assert run.selection == 16


def test_what_it_expects_to_be_wrong_is_about_what_is():
    """Over seeds, to within a factor of three."""
    ratios = []
    for seed in range(5):
        oracle = labels_of(target(box(8), 3, seed))
        run = filch.extract(oracle, attack=SoftmaxLabels(precision=1e-3), budget=1_000, seed=seed)
        wrong = filch.fidelity(oracle, run.model, n_uniform=100_000).r_unif
        ratios.append(wrong / run.evidence["expected disagreement"])
        assert run.outcome == "verified", run.reason
    assert 1 / 3 < np.median(ratios) < 3


@pytest.mark.parametrize("names", [(1, 2, 5), ("x", "y", "z"), (0.5, 1.5, 2.5)])
def test_labels_of_any_type(names):
    oracle = labels_of(target(box(3), 3, 0, names))
    run = filch.extract(oracle, attack="softmax-labels", budget=300)
    assert run.outcome == "verified" and set(run.model.classes_.tolist()) == set(names)


def test_two_classes_named_by_booleans():
    oracle = labels_of(target(box(3), 2, 0, (False, True)))
    run = filch.extract(oracle, attack="softmax-labels", budget=300)
    assert run.outcome == "verified" and run.model.link == "logistic"
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


@pytest.mark.parametrize("kind", [LogisticRegression(max_iter=1_000), LinearSVC()])
def test_softmax_and_one_vs_rest_are_the_same_function_here(kind):
    X = np.random.default_rng(0).uniform(-1, 1, (500, 6))
    model = kind.fit(X, (X @ np.random.default_rng(1).standard_normal((6, 4))).argmax(axis=1))
    oracle = ModelOracle(model, box(6), reveal="labels")
    run = filch.extract(oracle, attack="softmax-labels", budget=600)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


def test_a_class_that_is_never_reached_is_named():
    weights = np.array(target(box(4), 4, 1).weights)
    weights[2] = [0.0, 0.0, 0.0, 0.0, -30.0]
    oracle = labels_of(Scores(box(4), tuple(map(tuple, weights)), ("a", "b", "c", "d")))
    run = filch.extract(oracle, attack="softmax-labels", budget=1_000)
    assert run.outcome == "verified" and "never seen: c" in run.reason
    assert run.evidence["classes never seen"] == ["c"]
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


@pytest.mark.parametrize("space", [box(3), FeatureSpace((Categorical("a", ("x", "y")), Categorical("b", ("x", "y"))))])
def test_one_class_only_ends_as_a_constant(space):
    weights = np.zeros((3, OneHot(space).width + 1))
    weights[1, -1] = 50.0
    oracle = labels_of(Scores(space, tuple(map(tuple, weights)), ("a", "b", "c")))
    run = filch.extract(oracle, attack="softmax-labels", budget=3_000)
    assert run.outcome == "approximate" and "only one class" in run.reason
    assert set(run.model.predict(space.decode(space.sample(50, np.random.default_rng(0))))) == {"b"}


@pytest.mark.parametrize("seed", range(3))
def test_a_class_of_one_uniform_row_in_a_thousand_is_found(seed):
    weights = ((0.0,) * 8 + (0.0,), (0.1,) * 8 + (-0.2,), (1.0,) * 8 + (-4.2,))
    oracle = labels_of(Scores(box(8), weights, ("a", "b", "c")))
    run = filch.extract(oracle, attack="softmax-labels", budget=3_000, seed=seed)
    assert run.evidence["classes never seen"] == [], run.reason
    assert filch.fidelity(oracle, run.model, n_uniform=100_000).r_unif <= 5e-4


@pytest.mark.parametrize("seed", range(3))
def test_a_target_that_is_not_linear_is_told_with_rows_that_prove_it(seed):
    X = np.random.default_rng(seed).uniform(-1, 1, (400, 3))
    rings = np.digitize((X**2).sum(axis=1), [0.6, 1.2])
    oracle = ModelOracle(SVC(C=100).fit(X, rings), box(3), reveal="labels")
    run = filch.extract(oracle, attack="softmax-labels", budget=2_000, seed=seed)
    assert run.outcome == "none_fits", run.reason
    proof = np.array(run.evidence["contradiction"])
    assert 3 <= len(proof) == run.evidence["contradictory rows"]
    assert filch.fidelity(oracle, run.model).r_unif < 0.9  # the model is the closest one, not what is left of a failure


def test_a_network_is_not_taken_for_a_linear_model():
    X = np.random.default_rng(0).uniform(-1, 1, (500, 4))
    y = (np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] > 0).astype(int) + (X[:, 3] > 0.3)
    model = MLPClassifier((20,), max_iter=2_000, random_state=0).fit(X, y)
    run = filch.extract(ModelOracle(model, box(4), reveal="labels"), attack="softmax-labels", budget=2_000)
    assert run.outcome == "none_fits", run.reason


def test_flipped_labels_are_not_taken_for_a_linear_model():
    oracle = Flipping(labels_of(target(box(6), 3, 0)), 0.1, 0)
    run = filch.extract(oracle, attack="softmax-labels", budget=2_000)
    assert run.outcome == "none_fits" and "flipped" in run.reason


def test_duplicated_columns_do_no_harm():
    weights = np.array(target(box(4), 3, 0).weights)
    weights[:, 3] = weights[:, 2]
    oracle = labels_of(Scores(box(4), tuple(map(tuple, weights)), ("a", "b", "c")))
    assert filch.extract(oracle, attack="softmax-labels", budget=500).outcome == "verified"


def test_refused_rows_are_done_without():
    oracle = labels_of(target(box(6), 3, 0))
    run = filch.extract(Refusing(oracle, 0.2), attack="softmax-labels", budget=1_000)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


def test_known_rows_are_learned_from():
    oracle = labels_of(target(box(6), 3, 0))
    known = oracle.ask(box(6).sample(200, np.random.default_rng(1)))
    alone = filch.extract(oracle, attack="softmax-labels", budget=1_000)
    helped = filch.extract(oracle, attack="softmax-labels", budget=1_000, known=known)
    assert helped.outcome == "verified" and helped.queries < alone.queries


def test_batches_take_fewer_requests_and_a_few_queries_more():
    def oracle(seed):
        return labels_of(target(box(10), 4, seed))

    single, batched = errors(oracle, 8, batch=1), errors(oracle, 8 * 1.1, batch=8)
    assert np.median(batched) <= 1.5 * np.median(single)


def test_without_check_the_outcome_is_unverified():
    run = filch.extract(labels_of(target(box(3), 3, 0)), attack=SoftmaxLabels(check=0), budget=500)
    assert (run.outcome, run.selection) == ("unverified", 0)


def test_a_budget_that_ends_early_leaves_the_best_so_far():
    oracle = labels_of(target(box(10), 4, 0))
    found = []
    for budget in (1, 20, 100, 250):
        run = filch.extract(oracle, attack="softmax-labels", budget=budget)
        assert run.outcome == "budget_spent" and run.ledger.paid == budget
        found.append(filch.fidelity(oracle, run.model).r_unif)
    assert found[0] > found[2] > found[3]


def test_it_keeps_the_contract_of_attacks():
    check_attack(SoftmaxLabels(precision=1e-2), labels_of(target(mixed(), 3, 0)), budget=150)


@pytest.mark.parametrize(
    ("space", "classes"),
    [(box(2), None), (FeatureSpace.box([1], [1]), ("a", "b", "c")), (box(1_000), tuple("abcd"))],
)
def test_what_it_cannot_attack_it_says(space, classes):
    assert SoftmaxLabels().needs(OracleSpec(space, classes, filch.Reveal("labels" if classes else "value")))


@pytest.mark.parametrize(
    "parameters", [{"precision": 0.0}, {"precision": 1.0}, {"batch": 0}, {"most": 0}, {"check": -1}]
)
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(UsageError):
        SoftmaxLabels(**parameters)


def test_the_order_of_labels_matters_little_once_they_are_weighed_together():
    rng = np.random.default_rng(0)
    truth, design = rng.standard_normal((3, 5)), rng.standard_normal((60, 5))
    labels = (design @ truth.T).argmax(axis=1)
    found = []
    for order in (np.arange(60), np.arange(60)[::-1]):
        belief = ClassBelief(np.ones(5), 3)
        belief.hear(design[order], labels[order])
        assert belief.settle(np.random.default_rng(1))
        found.append(belief.mean / np.linalg.norm(belief.mean))
    assert np.linalg.norm(found[0] - found[1]) < 0.1


def test_the_belief_is_that_of_many_draws():
    """Mean and deviation of a weight difference, against weights drawn from the prior that give all labels."""
    rng = np.random.default_rng(0)
    truth, design = rng.standard_normal((3, 2)), rng.standard_normal((4, 2))
    labels = (design @ truth.T).argmax(axis=1)
    belief = ClassBelief(np.ones(2), 3)
    belief.hear(design, labels)
    belief.settle(rng)
    drawn = rng.standard_normal((200_000, 3, 2))
    drawn -= drawn.mean(axis=1, keepdims=True)
    kept = drawn[((drawn @ design.T).argmax(axis=1) == labels).all(axis=1)]
    assert len(kept) > 1_000
    assert np.abs(belief.weights - kept.mean(axis=0)).max() < 0.15
    spread = belief.draws(20_000, rng).std(axis=0)
    assert np.abs(spread / kept.std(axis=0) - 1).max() < 0.2
