"""Extract-and-test: the right candidate wins, nothing is paid twice, no fit is said to be one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_circles, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import filch
from filch.attacks.auto import Auto
from filch.attacks.binned_linear import BinnedLinear
from filch.attacks.logistic import Logistic
from filch.attacks.retraining import Retraining
from filch.attacks.selection.texture import Texture, look
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome
from filch.errors import CannotRun, UsageError
from filch.models import binned
from filch.models.kernel import KernelModel

SPACE = filch.FeatureSpace.box([-1, -1, -1], [1, 1, 1])
CHEAP = (Logistic(), Retraining(surrogate=DecisionTreeClassifier()))


@pytest.fixture(scope="module")
def data():
    X = SPACE.sample(400, np.random.default_rng(0))
    return X, np.digitize(X @ [1.0, 2.0, -1.0], [-1.0, 1.0])


@pytest.mark.parametrize("kind", [LogisticRegression(), OneVsRestClassifier(LogisticRegression())])
def test_a_logistic_target_is_verified_before_anything_else_is_paid(data, kind):
    oracle = filch.ModelOracle(kind.fit(*data), SPACE)
    run = filch.extract(oracle, "auto", budget=1_000)
    alone = filch.extract(oracle, "logistic", budget=1_000)
    assert run.outcome == "verified" and run.evidence["attack"] == "logistic"
    assert (run.queries, run.selection) == (alone.queries, alone.selection)


def test_a_forest_fits_nothing_and_that_is_said(data):
    rings = np.digitize(np.linalg.norm(data[0], axis=1), [0.7, 1.1])
    oracle = filch.ModelOracle(RandomForestClassifier(n_estimators=20, random_state=0).fit(data[0], rings), SPACE)
    run = filch.extract(oracle, Auto(candidates=CHEAP), budget=600)
    assert run.outcome == "none_fits" and "retraining is closest" in run.reason
    assert list(run.evidence["candidates"]) == ["retraining", "logistic"]  # the closest first
    assert run.queries + run.selection <= 600
    assert filch.fidelity(oracle, run.model, n_uniform=1_000).r_unif < 0.3


def test_labels_and_values_go_to_retraining(data):
    labels = filch.ModelOracle(LogisticRegression().fit(*data), SPACE, reveal="labels")
    run = filch.extract(
        labels, Auto(candidates=(Logistic(), Retraining(surrogate=LogisticRegression(C=100)))), budget=400
    )
    assert run.outcome in ("approximate", "none_fits") and run.evidence["attack"] == "retraining"
    values = filch.ModelOracle(LinearRegression().fit(data[0], data[0] @ [1, 2, 3]), SPACE, reveal="value")
    run = filch.extract(values, Auto(candidates=(Logistic(), Retraining(surrogate=LinearRegression()))), budget=100)
    assert np.allclose(run.model.predict(data[0]), data[0] @ [1, 2, 3])


def test_no_candidate_can_run():
    X = SPACE.sample(50, np.random.default_rng(0))
    values = filch.ModelOracle(LinearRegression().fit(X, X[:, 0]), SPACE, reveal="value")
    with pytest.raises(CannotRun, match="no classifier"):
        filch.extract(values, Auto(candidates=(Logistic(),)), budget=10)
    for wrong in ({"candidates": ()}, {"check": 0}):
        with pytest.raises(UsageError, match="at least one candidate"):
            Auto(**wrong)


def test_a_small_budget_ends_in_an_outcome(data):
    oracle = filch.ModelOracle(LogisticRegression().fit(*data), SPACE)
    for budget in (1, 2, 4, 5, 9):
        run = filch.extract(oracle, Auto(candidates=CHEAP), budget=budget)
        assert run.queries + run.selection <= budget
        assert run.outcome in ("budget_spent", "unverified", "none_fits", "approximate", "verified")


# ── what the target is ──────────────────────────────────────────────────────────────────────────────────────

WIDE = filch.FeatureSpace.box([-1.0] * 10, [1.0] * 10)


@pytest.fixture(scope="module")
def wide():
    X, y = make_classification(600, 10, n_informative=6, n_redundant=0, n_classes=3, random_state=0)
    return X / np.abs(X).max(axis=0), y


@pytest.mark.parametrize(
    ("kind", "winner"),
    [
        (MLPClassifier((5,), activation="tanh", random_state=0, max_iter=500), "perceptron"),
        (MLPClassifier((5,), random_state=0, max_iter=500), "perceptron-relu"),
        (DecisionTreeClassifier(max_depth=5, min_samples_leaf=5, random_state=0), "tree-bottom-up"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_class_of_a_target_is_found(wide, kind, winner):
    oracle = filch.ModelOracle(kind.fit(*wide), WIDE)
    run = filch.extract(oracle, "auto", budget=3_000, curve=False)
    assert run.outcome == "verified" and run.evidence["attack"] == winner
    prices = {name: facts["queries"] for name, facts in run.evidence["candidates"].items()}
    assert set(prices) == {"logistic", winner}  # texture ruled out all others
    assert sum(prices.values()) <= run.queries + run.selection
    assert {phase.split(":")[0] for entry in run.ledger.accounts.values() for phase in entry.phases} >= {
        "logistic",
        winner,
        "texture",
        "held back",
    }
    assert filch.fidelity(oracle, run.model, n_uniform=2_000).r_unif < 0.01


def test_a_kernel_model_is_found():
    rng, space = np.random.default_rng(0), filch.FeatureSpace.box([-1.0] * 6, [1.0] * 6)
    kernel = KernelModel(space, (0, 1, 2), space.sample(5, rng), rng.normal(size=(3, 5)), np.zeros(3), gamma_=0.3)
    run = filch.extract(filch.ModelOracle(kernel, space), "auto", budget=3_000, curve=False)
    assert run.outcome == "verified" and run.evidence["attack"] == "kernel-logistic"
    assert "perceptron" in run.evidence["candidates"]


@pytest.fixture(scope="module")
def two_classes():
    X, y = make_classification(600, 5, n_informative=4, n_redundant=0, random_state=1)
    return X, y, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))


def test_a_linear_model_is_verified_by_its_labels(two_classes):
    X, y, space = two_classes
    oracle = filch.ModelOracle(LogisticRegression().fit(X, y), space, reveal="labels")
    run = filch.extract(oracle, "auto", budget=600, curve=False)
    assert run.outcome == "verified" and run.evidence["attack"] == "halfspace"
    assert list(run.evidence["candidates"]) == ["halfspace"]
    assert filch.fidelity(oracle, run.model).r_unif == 0.0


def test_a_softmax_is_verified_by_its_labels(data):
    oracle = filch.ModelOracle(LogisticRegression().fit(*data), SPACE, reveal="labels")
    run = filch.extract(oracle, "auto", budget=600, curve=False)
    assert run.outcome == "verified" and run.evidence["attack"] == "softmax-labels", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


def test_labels_of_a_kernel_machine_go_to_the_attack_on_kernels(two_classes):
    X, y, space = two_classes
    oracle = filch.ModelOracle(SVC(gamma=0.1).fit(X, y), space, reveal="labels")
    run = filch.extract(oracle, "auto", budget=600, curve=False)
    assert run.evidence["attack"] == "kernel-labels" and run.evidence["edges"] == "slopes"
    assert set(run.evidence["candidates"]) >= {"halfspace", "kernel-labels"}
    assert run.queries + run.selection <= 600
    assert run.outcome in ("approximate", "none_fits") and filch.fidelity(oracle, run.model).r_unif < 0.06


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_a_tree_go_to_the_attack_on_trees(two_classes, seed):
    X, y, space = two_classes
    tree = DecisionTreeClassifier(max_leaf_nodes=12, random_state=seed).fit(X, y)
    oracle = filch.ModelOracle(tree, space, reveal="labels")
    run = filch.extract(oracle, "auto", budget=400, seed=seed, curve=False)
    assert run.evidence["attack"] == "tree-labels" and run.evidence["edges"] == "steps", run.reason
    assert run.queries + run.selection == 400
    assert filch.fidelity(oracle, run.model, n_uniform=5_000).r_unif < 0.08


@pytest.mark.parametrize("seed", range(5))
def test_a_line_that_is_right_only_where_it_was_searched_is_not_taken(seed):
    X, y = make_circles(500, noise=0.1, factor=0.5, random_state=seed)
    oracle = filch.ModelOracle(SVC().fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0)), reveal="labels")
    run = filch.extract(oracle, "auto", budget=150, seed=seed, curve=False)
    assert run.evidence["attack"] == "kernel-labels"
    assert filch.fidelity(oracle, run.model, n_uniform=5_000).r_unif < 0.05


def test_columns_of_steps_tell_no_edges():
    steps = [filch.Numeric(f"n{i}", 0, 9, integer=True) for i in range(4)]
    space = filch.FeatureSpace(tuple(steps))
    X = space.sample(500, np.random.default_rng(0))
    tree = DecisionTreeClassifier(max_leaf_nodes=8, random_state=0).fit(X, (X[:, 0] > X[:, 1]) ^ (X[:, 2] > 4))
    oracle = filch.ModelOracle(tree, space, reveal="labels")
    run = filch.extract(oracle, "auto", budget=400, curve=False)
    assert run.evidence["edges"] == "unknown" and "kernel-labels" in run.evidence["candidates"]
    assert filch.fidelity(oracle, run.model, n_uniform=5_000).r_unif < 0.1


@pytest.mark.parametrize("budget", [1, 7, 40])
def test_a_small_budget_for_labels_is_kept_to(two_classes, budget):
    X, y, space = two_classes
    oracle = filch.ModelOracle(SVC().fit(X, y), space, reveal="labels")
    run = filch.extract(oracle, "auto", budget=budget, curve=False)
    assert run.queries + run.selection <= budget and run.outcome != "verified"


def test_a_forest_is_not_searched_for_slopes_or_for_one_tree(wide):
    oracle = filch.ModelOracle(RandomForestClassifier(30, random_state=0).fit(*wide), WIDE)
    candidates = (*Auto().candidates[:-1], Retraining(surrogate=DecisionTreeClassifier()))
    run = filch.extract(oracle, Auto(candidates=candidates), budget=500, curve=False)
    assert run.outcome == "none_fits" and run.evidence["texture"] == "steps"
    assert set(run.evidence["candidates"]) == {"logistic", "binned-linear", "retraining"}
    assert run.evidence["candidates"]["binned-linear"]["queries"] < 20  # attributes do not add up: soon seen


@pytest.mark.parametrize("bins", [12, {"u": 12, "v": 5}])
@pytest.mark.parametrize("omission", [True, False])
def test_a_linear_model_behind_bins_is_found(bins, omission):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"u": rng.random(400), "v": rng.random(400), "w": rng.random(400)})
    target = binned.BinnedLinear(bins).fit(frame, np.where(frame["u"] + frame["v"] > frame["w"] + 0.4, "a", "b"))
    oracle = filch.ModelOracle(target, filch.FeatureSpace.from_frame(frame), omission=omission)
    both = [one for one in Auto().candidates if isinstance(one, (TreeTopDown, BinnedLinear))]
    cheap = Logistic(), *both, Retraining(surrogate=DecisionTreeClassifier())
    run = filch.extract(oracle, Auto(candidates=cheap), budget=2_000, curve=False)
    if isinstance(bins, int) or omission:
        assert run.outcome == "verified" and run.evidence["attack"] == "binned-linear", run.reason
        assert "tree-top-down" not in run.evidence["candidates"]
    else:  # lines hide the steps, and attributes alone are not asked to see
        assert "binned-linear" not in run.evidence["candidates"]


def test_what_others_paid_is_learned_from_where_no_row_is_left(wide):
    class Spender(Logistic):
        def steps(self, spec, rng, *, budget, known):
            answers = yield Ask(spec.space.sample(budget, rng))
            return Finding(None, Outcome.CLASS_MISMATCH, f"{len(answers)} rows were not enough")

    oracle = filch.ModelOracle(RandomForestClassifier(30, random_state=0).fit(*wide), WIDE)
    candidates = Spender(), Retraining(surrogate=DecisionTreeClassifier())
    run = filch.extract(oracle, Auto(candidates=candidates), budget=300, curve=False)
    assert run.queries + run.selection == 300
    assert run.evidence["candidates"]["retraining"]["queries"] == 0
    assert run.evidence["attack"] == "retraining" and run.model is not None


@pytest.mark.parametrize(
    ("kind", "texture"),
    [
        (LogisticRegression(), Texture.STRAIGHT),
        (MLPClassifier((4,), activation="tanh", random_state=0, max_iter=500), Texture.CURVED),
        (DecisionTreeClassifier(max_depth=2, random_state=0), Texture.STEPS),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_textures(wide, kind, texture):
    model = kind.fit(*wide)
    rows = WIDE.sample(30, np.random.default_rng(0))
    steps = look(
        filch.ModelOracle(model, WIDE).spec,
        Answers(rows, probabilities=model.predict_proba(rows)),
        np.random.default_rng(1),
    )
    ask = next(steps)
    assert len(ask.rows) == 8 and ask.account == "selection"
    assert ((ask.rows >= WIDE.low) & (ask.rows <= WIDE.high)).all()
    with pytest.raises(StopIteration) as stop:
        steps.send(Answers(ask.rows, probabilities=model.predict_proba(ask.rows)))
    assert stop.value.value is texture
