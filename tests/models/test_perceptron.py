"""Networks: what scikit-learn's own say, files, canonical form, bad input."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

import filch
from filch import models
from filch.errors import UsageError
from filch.models import PerceptronModel, files

SPACE = filch.FeatureSpace((filch.Numeric("n", 0, 4), filch.Categorical("c", ("u", "v", "w"))))
ROWS = SPACE.sample(60, np.random.default_rng(1))


def a_model(activation="tanh", link="softmax"):
    rng = np.random.default_rng(0)
    classes = {"softmax": ("a", "b", "c"), "logistic": ("a", "b"), "identity": None}[link]
    outputs = 3 if link == "softmax" else 1
    coefs, intercepts = (rng.normal(size=(4, 5)), rng.normal(size=(5, outputs))), (rng.normal(size=5), np.ones(outputs))
    return PerceptronModel(SPACE, classes, coefs, intercepts, activation, link)


def told(model, rows=ROWS):
    return model.predict(rows) if model.classes is None else model.predict_proba(rows)


@pytest.mark.parametrize("activation", ["tanh", "logistic", "relu"])
@pytest.mark.parametrize("classes", [None, 2, 3])
def test_it_says_what_scikit_learns_network_says(activation, classes):
    box = filch.FeatureSpace.box([-1, -1], [1, 1])  # so that the encoded view is the matrix itself
    X = box.sample(80, np.random.default_rng(0))
    y = X[:, 0] if classes is None else np.digitize(X @ [1.0, 2.0], [0.0, 1.0][: classes - 1])
    network = (MLPRegressor if classes is None else MLPClassifier)(
        hidden_layer_sizes=(4,), activation=activation, max_iter=20, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, y)
    link = {None: "identity", 2: "logistic", 3: "softmax"}[classes]
    names = None if classes is None else tuple(range(classes))
    copy = PerceptronModel(box, names, tuple(network.coefs_), tuple(network.intercepts_), activation, link)
    theirs = network.predict(X) if classes is None else network.predict_proba(X)
    assert np.allclose(told(copy, X), theirs, rtol=0, atol=1e-13)
    assert (classes is None) or (copy.predict(X) == network.predict(X)).all()


@pytest.mark.parametrize("activation", ["tanh", "logistic", "relu"])
@pytest.mark.parametrize("link", ["softmax", "logistic", "identity"])
def test_files_and_canonical_form_keep_the_function(tmp_path, activation, link):
    model = a_model(activation, link)
    copy = models.load(model.save(tmp_path / "copy"))
    assert isinstance(copy, PerceptronModel) and (told(copy) == told(model)).all()
    assert (copy.predict(SPACE.decode(ROWS)) == model.predict(ROWS)).all()
    assert np.allclose(told(model.canonical()), told(model), rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "logistic", "relu"])
def test_units_in_another_order_and_turned_are_the_same_in_canonical_form(activation):
    model = a_model(activation)
    (first, second), (inner, outer) = model.coefs_, model.intercepts_
    order = np.array([3, 1, 4, 0, 2])
    if activation == "relu":
        first, second, inner = first * 2.0, second / 2.0, inner * 2.0
    else:
        flip = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
        outer = outer + (second[flip < 0].sum(axis=0) if activation == "logistic" else 0.0)
        first, second, inner = first * flip, second * flip[:, None], inner * flip
    other = PerceptronModel(
        SPACE, model.classes, (first[:, order], second[order]), (inner[order], outer), activation, "softmax"
    ).canonical()
    for ours, theirs in zip(
        (*model.canonical().coefs_, *model.canonical().intercepts_), (*other.coefs_, *other.intercepts_), strict=True
    ):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_regressor_has_no_classes():
    model = a_model(link="identity")
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="no classes_"):
        _ = model.classes_


def test_what_does_not_belong_together(tmp_path):
    model = a_model()
    for wrong in (
        (SPACE, model.classes, model.coefs_, model.intercepts_, "sine", "softmax"),
        (SPACE, None, model.coefs_, model.intercepts_, "tanh", "softmax"),
        (SPACE, model.classes, model.coefs_, model.intercepts_, "tanh", "identity"),
        (SPACE, ("a", "b"), model.coefs_, model.intercepts_, "tanh", "softmax"),
        (SPACE, model.classes, model.coefs_[::-1], model.intercepts_, "tanh", "softmax"),
    ):
        with pytest.raises(UsageError):
            PerceptronModel(*wrong)
    incomplete = files.write(tmp_path / "half", "perceptron", {"classes": None}, SPACE, {})
    with pytest.raises(UsageError, match="no saved perceptron model"):
        models.load(incomplete)
    foreign = files.write(tmp_path / "foreign", "oracle bone", {}, SPACE, {})
    with pytest.raises(UsageError, match="'oracle bone' model: this version reads"):
        models.load(foreign)
