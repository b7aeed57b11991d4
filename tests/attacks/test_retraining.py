import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris, make_moons
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import filch
from filch.attacks.retraining import Retraining
from filch.attacks.surrogates.named import NAMES, family
from filch.core.drive import drive
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle
from filch.errors import CannotRun, UsageError

X, Y = load_iris(return_X_y=True)
IRIS = LogisticRegression(max_iter=1_000).fit(X, np.array(["setosa", "versicolor", "virginica"])[Y])
BOX = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
LINEAR = LogisticRegression(C=1e4, max_iter=5_000)


def table(n=400):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "income": rng.lognormal(10, 1, n),
            "region": rng.choice(["north", "east", "south", "west"], n),
            "owner": rng.choice([True, False], n),
        }
    )
    score = frame.age / 40 + (frame.region == "north") - frame.owner + rng.normal(size=n) * 0.2
    return frame, np.where(score > 1.2, "yes", "no")


def raw_target(last):
    frame, y = table()
    encode = make_column_transformer((OneHotEncoder(), ["region", "owner"]), remainder=StandardScaler())
    return make_pipeline(encode, last).fit(frame, y), FeatureSpace.from_frame(frame)


@pytest.mark.parametrize("reveal", ["labels", "top-1", "top-2", "probabilities"])
@pytest.mark.parametrize("strategy", ["uniform", "adaptive"])
def test_a_surrogate_of_the_targets_class_comes_close(strategy, reveal):
    oracle = ModelOracle(IRIS, BOX, reveal=reveal)
    run = filch.extract(oracle, attack=Retraining(strategy, surrogate=LINEAR), budget=400)
    assert (run.outcome, run.queries, run.selection) == ("approximate", 400, 0)
    assert filch.fidelity(oracle, run.model).r_unif < 0.05
    assert run.evidence["cross-validated error"] < 0.2
    assert len(run.curve) >= 5 and run.curve[-1].fidelity.r_unif < run.curve[0].fidelity.r_unif


def test_rows_on_the_boundary_tell_more_than_uniform_ones():
    oracle = ModelOracle(IRIS, BOX, reveal="labels")
    errors = {
        strategy: np.mean(
            [
                filch.fidelity(
                    oracle, filch.extract(oracle, Retraining(strategy, surrogate=LINEAR), budget=500, seed=seed).model
                ).r_unif
                for seed in range(3)
            ]
        )
        for strategy in ("uniform", "adaptive")
    }
    assert errors["adaptive"] < errors["uniform"] / 2


def test_probabilities_tell_more_than_labels():
    errors = {}
    for reveal in ("labels", "probabilities"):
        oracle = ModelOracle(IRIS, BOX, reveal=reveal)
        run = filch.extract(oracle, attack=Retraining("uniform", surrogate=LINEAR), budget=60)
        errors[reveal] = filch.fidelity(oracle, run.model).r_unif
    assert errors["probabilities"] < errors["labels"] / 2


@pytest.mark.parametrize("reveal", ["labels", "probabilities"])
@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(20, random_state=0), SVC()])
def test_raw_columns_and_any_model_with_the_default_surrogates(last, reveal):
    if reveal == "probabilities" and isinstance(last, SVC):
        last = MLPClassifier((8,), max_iter=50, learning_rate_init=0.05, random_state=0, early_stopping=True)
    target, space = raw_target(last)
    oracle = ModelOracle(target, space, reveal=reveal)
    run = filch.extract(oracle, attack=Retraining(rounds=4), budget=300)
    found = filch.fidelity(oracle, run.model)
    assert found.r_unif < 0.15
    assert (found.r_tv_unif is not None) == (reveal == "probabilities")
    assert run.model.predict(table()[0]).tolist() == run.model.predict(space.encode(table()[0])).tolist()
    assert run.evidence["surrogate"]


@pytest.mark.parametrize(
    "surrogate",
    [
        SVC(C=10),
        KNeighborsClassifier(3),
        DecisionTreeClassifier(),
        ExtraTreesRegressor(20),
        make_pipeline(PolynomialFeatures(2), LogisticRegression(max_iter=1_000)),
        (LogisticRegression(), DecisionTreeClassifier()),
    ],
)
@pytest.mark.parametrize("reveal", ["labels", "probabilities"])
def test_any_scikit_learn_surrogate(surrogate, reveal):
    oracle = ModelOracle(IRIS, BOX, reveal=reveal)
    run = filch.extract(oracle, attack=Retraining(surrogate=surrogate, rounds=3), budget=150)
    assert filch.fidelity(oracle, run.model).r_unif < 0.3
    assert run.model.n_parameters >= 0


def test_cross_validation_chooses_the_surrogate_that_fits():
    oracle = ModelOracle(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y), BOX, reveal="labels")
    attack = Retraining("uniform", surrogate=(LogisticRegression(max_iter=1_000), DecisionTreeClassifier()))
    assert filch.extract(oracle, attack, budget=300).evidence["surrogate"] == "DecisionTreeClassifier"
    linear = ModelOracle(IRIS, BOX, reveal="labels")
    assert filch.extract(linear, attack, budget=300).evidence["surrogate"] == "LogisticRegression"


@pytest.mark.parametrize("surrogate", [None, LinearRegression(), DecisionTreeRegressor()])
def test_a_regression_target(surrogate):
    data, y = load_diabetes(return_X_y=True)
    oracle = ModelOracle(
        LinearRegression().fit(data, y), FeatureSpace.box(data.min(axis=0), data.max(axis=0)), reveal="value"
    )
    run = filch.extract(oracle, attack=Retraining(surrogate=surrogate, rounds=3), budget=120)
    rows = oracle.spec.space.sample(500, np.random.default_rng(1))
    truth = oracle.ask(rows).value
    error = np.abs(run.model.predict(rows) - truth).mean() / np.ptp(truth)
    assert error < (0.2 if isinstance(surrogate, DecisionTreeRegressor) else 1e-6)
    assert not hasattr(run.model, "predict_proba") and not hasattr(run.model, "classes_")


@pytest.mark.parametrize("reveal", ["labels", "probabilities"])
def test_one_class_only(reveal):
    target = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    oracle = ModelOracle(target, FeatureSpace.box([5], [9]), reveal=reveal)
    run = filch.extract(oracle, attack=Retraining(), budget=50)
    assert set(run.model.predict([[5.0], [9.0]])) == {"b"}


@pytest.mark.parametrize("budget", [1, 2, 3, 5, 11, 64])
def test_any_budget_is_spent_and_not_exceeded(budget):
    run = filch.extract(ModelOracle(IRIS, BOX), attack=Retraining(), budget=budget)
    assert run.ledger.paid == budget and run.model is not None


def test_known_answers_are_free_and_learnt():
    oracle = ModelOracle(IRIS, BOX)
    known = oracle.ask(BOX.sample(300, np.random.default_rng(7)))
    run = filch.extract(oracle, attack=Retraining(surrogate=LINEAR), budget=10, known=known)
    assert run.queries == 10 and run.evidence["answers"] == 310
    assert filch.fidelity(oracle, run.model).r_unif < 0.05


def test_no_row_is_asked_twice():
    run = drive(ModelOracle(IRIS, BOX, reveal="labels"), Retraining(surrogate=LINEAR), budget=300, keep_answers=True)
    assert len(np.unique(run.answers.rows, axis=0)) == 300


def test_rows_near_the_boundary_stay_on_the_grid():
    space = FeatureSpace((Numeric("n", 0, 10, integer=True), Categorical("c", ("x", "y", "z")), Numeric("r", -1, 1)))
    rows = space.sample(200, np.random.default_rng(0))
    frame, y = space.decode(rows), np.where(rows[:, 0] + 3 * rows[:, 1] + rows[:, 2] > 7, "p", "q")
    target = make_pipeline(make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough"), LINEAR)
    oracle = ModelOracle(target.fit(frame, y), space, reveal="labels")
    run = drive(oracle, Retraining(surrogate=LINEAR, rounds=4), budget=200, keep_answers=True)
    np.testing.assert_array_equal(run.answers.rows, space.snap(run.answers.rows))


def test_unencoded_rows_suit_trees():
    moons, y = make_moons(300, noise=0.1, random_state=0)
    space = FeatureSpace.box(moons.min(axis=0), moons.max(axis=0))
    oracle = ModelOracle(DecisionTreeClassifier(max_depth=4, random_state=0).fit(moons, y), space, reveal="labels")
    run = filch.extract(oracle, Retraining(surrogate=DecisionTreeClassifier(), encoded=False), budget=400)
    assert filch.fidelity(oracle, run.model).r_unif < 0.05


def test_a_classifier_cannot_stand_in_for_a_regressor():
    oracle = ModelOracle(LinearRegression().fit([[0.0], [1.0]], [0, 1]), FeatureSpace.box([0], [1]), reveal="value")
    with pytest.raises(CannotRun, match="give a regressor"):
        filch.extract(oracle, attack=Retraining(surrogate=SVC()), budget=10)


@pytest.mark.parametrize(
    "parameters",
    [
        {"strategy": "greedy"},
        {"rounds": 0},
        {"surrogate": StandardScaler()},
        {"surrogate": "svm"},
        {"explore": 2},
        {"halvings": 0},
    ],
)
def test_parameters_that_cannot_be_right_are_refused(parameters):
    with pytest.raises(UsageError):
        Retraining(**parameters)


BINARY = ModelOracle(LogisticRegression(max_iter=1_000).fit(X, Y == 2), BOX, reveal="labels")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reveal", ["labels", "probabilities"])
def test_surrogates_by_name(name, reveal):
    oracle = ModelOracle(IRIS, BOX, reveal=reveal)
    run = filch.extract(oracle, Retraining(surrogate=name, rounds=4), budget=240)
    assert run.outcome == "approximate"
    steps = name in ("tree", "forest", "boosting")  # of which a slanting plane takes many
    assert filch.fidelity(oracle, run.model).r_unif < (0.3 if steps else 0.12)


@pytest.mark.parametrize("name", NAMES)
def test_named_surrogates_fit_without_complaint(name):
    """Warnings are errors here; the attack itself is silent where a fit does not converge."""
    rows = BOX.sample(400, np.random.default_rng(0))
    answers = BINARY.ask(rows)
    encoded = OneHot(BOX).encode(rows)
    for estimator in family(name, "labels", encoded.shape[1], 2):
        fitted = clone(estimator).fit(encoded, answers.labels)
        assert np.mean(fitted.predict(encoded) != answers.labels) < 0.05


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("logistic", "softmax")])
def test_named_surrogates_of_a_value(name):
    rng = np.random.default_rng(0)
    data = rng.uniform(-1, 1, (200, 3))
    target = LinearRegression().fit(data, data @ [1.0, -2.0, 0.5])
    oracle = ModelOracle(target, FeatureSpace.box(-np.ones(3), np.ones(3)), reveal="value")
    run = filch.extract(oracle, Retraining(surrogate=name, rounds=2), budget=160)
    rows = oracle.spec.space.sample(500, rng)
    truth = oracle.ask(rows).value
    assert np.abs(run.model.predict(rows) - truth).mean() / np.ptp(truth) < 0.1


def test_a_logistic_model_stands_in_for_no_value():
    oracle = ModelOracle(LinearRegression().fit([[0.0], [1.0]], [0, 1]), FeatureSpace.box([0], [1]), reveal="value")
    with pytest.raises(CannotRun, match="give a regressor"):
        filch.extract(oracle, attack=Retraining(surrogate="softmax"), budget=10)


def test_the_width_of_a_kernel_is_found_on_paid_answers():
    """Extract-and-test: of a wide and a narrow kernel the one like the target's is taken."""
    rng = np.random.default_rng(1)
    data = rng.uniform(-1, 1, (300, 2))
    y = (np.sin(6 * data[:, 0]) + data[:, 1] > 0).astype(int)
    found = []
    for gamma in (0.05, 20.0):
        oracle = ModelOracle(SVC(C=100, gamma=gamma).fit(data, y), FeatureSpace.box([-1] * 2, [1] * 2), reveal="labels")
        run = filch.extract(oracle, Retraining("uniform", surrogate="rbf-svm"), budget=1_000)
        assert run.queries == 1_000 and filch.fidelity(oracle, run.model).r_unif < 0.03
        found.append(run.evidence["parameters"]["gamma"])
    assert found[0] <= 1.0 < found[1]


def test_choosing_does_not_depend_on_when_the_model_is_looked_at():
    attack = Retraining(surrogate=("logistic", "rbf-svm", "tree"), rounds=3)
    watched = filch.extract(BINARY, attack, budget=150)
    alone = filch.extract(BINARY, attack, budget=150, curve=False)
    assert watched.evidence == alone.evidence


def test_line_searches_crowd_at_the_boundary():
    run = drive(BINARY, Retraining("line_search", surrogate="logistic"), budget=500, keep_answers=True)
    uniform = drive(BINARY, Retraining("uniform", surrogate="logistic"), budget=500, keep_answers=True)
    margins = [np.abs(BINARY.model.decision_function(r.answers.rows)) for r in (run, uniform)]
    assert np.median(margins[0]) < np.median(margins[1]) / 10
    assert run.requests <= 50
    assert len(np.unique(run.answers.rows, axis=0)) == 500
    assert filch.fidelity(BINARY, run.model).r_unif < filch.fidelity(BINARY, uniform.model).r_unif


def test_line_searches_on_a_grid_leave_their_queries_to_others():
    space = FeatureSpace((Numeric("n", 0, 6, integer=True), Categorical("c", ("x", "y", "z")), Numeric("r", -1, 1)))
    rows = space.sample(300, np.random.default_rng(0))
    frame, y = space.decode(rows), np.where(rows[:, 0] + 2 * rows[:, 1] > 5, "p", "q")
    target = make_pipeline(make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough"), LINEAR)
    oracle = ModelOracle(target.fit(frame, y), space, reveal="labels")
    run = drive(oracle, Retraining("line_search", surrogate="logistic", rounds=4), budget=200, keep_answers=True)
    assert run.queries == 200
    np.testing.assert_array_equal(run.answers.rows, space.snap(run.answers.rows))
    assert filch.fidelity(oracle, run.model).r_unif < 0.05


def test_line_searches_of_one_class_only_are_uniform_rows():
    target = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    run = filch.extract(
        ModelOracle(target, FeatureSpace.box([5], [9]), reveal="labels"), Retraining("line_search"), budget=70
    )
    assert run.queries == 70 and set(run.model.predict([[5.0], [9.0]])) == {"b"}


def test_the_papers_adaptive_strategy_asks_no_uniform_rows_after_the_first_round():
    run = drive(BINARY, Retraining(surrogate="logistic", explore=0), budget=400, keep_answers=True)
    margins = np.abs(BINARY.model.decision_function(run.answers.rows))
    assert np.quantile(margins[200:], 0.95) < np.median(margins[:40]) / 5
