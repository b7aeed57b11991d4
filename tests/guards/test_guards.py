import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from filch import guards
from filch.core.answers import Reveal
from filch.core.features import FeatureSpace
from filch.core.oracle import GuardedOracle, ModelOracle, OracleSpec, guarded
from filch.errors import NotRevealed, UsageError
from filch.guards import LabelsOnly, Rounding, TopK

X, Y = load_iris(return_X_y=True)
SPACE = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
MODEL = LogisticRegression(max_iter=1_000).fit(X, Y)
ROWS = SPACE.sample(200, np.random.default_rng(0))


def answers_of(oracle):
    inner = oracle
    chain = []
    while isinstance(inner, GuardedOracle):
        chain.append(inner)
        inner = inner.inner
    answers = inner.ask(ROWS)
    for link in reversed(chain):
        answers = link.guard.apply(answers, link.inner.spec)
    return answers


@pytest.mark.parametrize(
    ("protections", "short"),
    [
        ([Rounding(2)], {"reveal": "probabilities", "decimals": 2}),
        ([Rounding(0)], {"reveal": "probabilities", "decimals": 0}),
        ([LabelsOnly()], {"reveal": "labels"}),
        ([TopK(1)], {"reveal": "top-1"}),
        ([TopK(2), Rounding(3)], {"reveal": "top-2", "decimals": 3}),
        ([TopK(2), TopK(1)], {"reveal": "top-1"}),
        ([Rounding(3), LabelsOnly()], {"reveal": "labels"}),
    ],
)
def test_the_oracles_own_reveal_is_short_for_the_guards(protections, short):
    hardened = guarded(ModelOracle(MODEL, SPACE), protections)
    direct = ModelOracle(MODEL, SPACE, **short)
    assert hardened.spec == direct.spec
    here, there = answers_of(hardened).arrays(), direct.ask(ROWS).arrays()
    assert here.keys() == there.keys()
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


def test_values_are_rounded_too():
    data, target = load_diabetes(return_X_y=True)
    model, space = LinearRegression().fit(data, target), FeatureSpace.box(data.min(axis=0), data.max(axis=0))
    oracle, rows = ModelOracle(model, space, reveal="value"), space.sample(20, np.random.default_rng(0))
    cut = Rounding(1).apply(oracle.ask(rows), oracle.spec)
    np.testing.assert_array_equal(cut.value, np.round(model.predict(rows), 1))
    assert Rounding(1).public(oracle.spec).decimals == 1


def test_labels_are_those_of_the_unrounded_answers():
    cut = Rounding(0).apply(ModelOracle(MODEL, SPACE).ask(ROWS), ModelOracle(MODEL, SPACE).spec)
    np.testing.assert_array_equal(cut.labels, MODEL.predict(ROWS))


def spec(reveal: Reveal, classes=("a", "b", "c")) -> OracleSpec:
    return OracleSpec(SPACE, classes, reveal)


@pytest.mark.parametrize(
    ("guard", "public", "mend"),
    [
        (Rounding(3), spec(Reveal("probabilities", 2)), "round to 2 decimals or fewer"),
        (Rounding(3), spec(Reveal("labels")), "no numbers to round"),
        (Rounding(3), spec(Reveal("node")), "no numbers to round"),
        (TopK(2), spec(Reveal("labels")), "no probabilities"),
        (TopK(2), spec(Reveal("top-1")), "choose k up to 1"),
        (TopK(3), spec(Reveal("probabilities")), "hides nothing of 3 classes"),
        (LabelsOnly(), spec(Reveal("value"), None), "use rounding"),
    ],
)
def test_a_guard_refuses_what_is_not_revealed(guard, public, mend):
    with pytest.raises((NotRevealed, UsageError), match=mend):
        guard.public(public)


def test_a_trees_leaf_stays_hidden_behind_labels_only():
    tree = DecisionTreeClassifier(random_state=0).fit(X, Y)
    oracle = ModelOracle(tree, SPACE, reveal="node")
    assert LabelsOnly().apply(oracle.ask(ROWS), oracle.spec).node is None


@pytest.mark.parametrize("guard", [Rounding(0), Rounding(17), LabelsOnly(), TopK(1), TopK(12)])
def test_a_text_names_each_guard(guard):
    text = {Rounding: "rounding:{decimals}", LabelsOnly: "labels", TopK: "top-{k}"}[type(guard)].format(**vars(guard))
    assert guards.parse(text) == guard


@pytest.mark.parametrize(
    "text", ["", "rounding", "rounding:-1", "rounding:18", "rounding:1.5", "top-0", "top-", "noise", "top-²"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError):
        guards.parse(text)


@pytest.mark.parametrize("make", [lambda: Rounding(-1), lambda: Rounding(18), lambda: TopK(0)])
def test_numbers_out_of_range_are_refused(make):
    with pytest.raises(UsageError):
        make()
