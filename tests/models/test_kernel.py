"""Kernel models: what scikit-learn's own kernel says, files, canonical form, bad input."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

import filch
from filch import models
from filch.errors import UsageError
from filch.models import KernelModel, files

SPACE = filch.FeatureSpace((filch.Numeric("n", 0, 4), filch.Categorical("c", ("u", "v", "w"))))
ROWS = SPACE.sample(60, np.random.default_rng(1))


def a_model(classes=("a", "b", "c"), scale=None, degree=None):
    rng = np.random.default_rng(0)
    vectors = len(classes) if len(classes) > 2 else 1
    representers = filch.OneHot(SPACE).encode(SPACE.sample(5, rng))
    return KernelModel(
        SPACE, classes, representers, rng.normal(size=(vectors, 5)), rng.normal(size=vectors), 0.3, scale, degree
    )


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_it_says_what_the_formula_says(classes):
    model = a_model(classes)
    scores = rbf_kernel(filch.OneHot(SPACE).encode(ROWS), model.representers_, 0.3) @ model.dual_coef_.T
    scores += model.intercept_
    if len(classes) == 2:
        scores = np.column_stack([np.zeros(len(ROWS)), scores])
    expected = softmax(scores, axis=1)
    assert np.allclose(model.predict_proba(ROWS), expected, rtol=0, atol=1e-14)
    assert (model.predict(ROWS) == np.array(classes)[expected.argmax(axis=1)]).all()


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_files_and_canonical_form_keep_the_function(tmp_path, classes):
    model = a_model(classes)
    copy = models.load(model.save(tmp_path / "copy"))
    assert isinstance(copy, KernelModel) and (copy.predict_proba(ROWS) == model.predict_proba(ROWS)).all()
    assert (copy.predict(SPACE.decode(ROWS)) == model.predict(ROWS)).all()
    assert np.allclose(model.canonical().predict_proba(ROWS), model.predict_proba(ROWS), rtol=0, atol=1e-13)


def test_representers_in_another_order_are_the_same_in_canonical_form():
    model, order = a_model(), np.array([3, 1, 4, 0, 2])
    dual, intercept = model.dual_coef_[:, order] + 2.0, model.intercept_ - 1.0  # a shift common to all classes
    other = KernelModel(SPACE, model.classes, model.representers_[order], dual, intercept, 0.3).canonical()
    for name in ("representers_", "dual_coef_", "intercept_"):
        assert np.allclose(getattr(other, name), getattr(model.canonical(), name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", [None, 1, 2, 3])
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_the_gradient_is_that_of_differences(classes, degree):
    model, step = a_model(classes, np.array([2.0, 0.5, 0.5, 1.0]), degree), np.array([1e-5, 0.0])
    rows = ROWS[(ROWS[:, 0] > 0.1) & (ROWS[:, 0] < 3.9)]
    for index in range(len(classes)):
        ahead, behind = (np.log(model.predict_proba(rows + side * step)[:, index]) for side in (1, -1))
        slopes = model.gradient(rows, index)
        assert np.allclose(slopes[:, 0], (ahead - behind) / 2e-5, rtol=0, atol=1e-8) and not slopes[:, 1].any()


def test_columns_may_be_scaled(tmp_path):
    scale = np.array([2.0, 0.5, 0.5, 1.0])
    model = a_model(scale=scale)
    view = filch.OneHot(SPACE).encode(ROWS)
    scores = rbf_kernel(view * scale, model.representers_ * scale, 0.3) @ model.dual_coef_.T + model.intercept_
    assert np.allclose(model.predict_proba(ROWS), softmax(scores, axis=1), rtol=0, atol=1e-14)
    copy = models.load(model.save(tmp_path / "copy")).canonical()
    assert np.allclose(copy.predict_proba(ROWS), model.predict_proba(ROWS), rtol=0, atol=1e-13)
    with pytest.raises(UsageError, match="4 positive"):
        a_model(scale=scale[:3])


@pytest.mark.parametrize("degree", [2, 3])
def test_polynomial_kernels(tmp_path, degree):
    scale = np.array([2.0, 0.5, 0.5, 1.0])
    model = a_model(scale=scale, degree=degree)
    kernel = polynomial_kernel(filch.OneHot(SPACE).encode(ROWS) * scale, model.representers_ * scale, degree, 0.3, 1.0)
    expected = softmax(kernel @ model.dual_coef_.T + model.intercept_, axis=1)
    assert np.allclose(model.predict_proba(ROWS), expected, rtol=0, atol=1e-13)
    copy = models.load(model.save(tmp_path / "copy")).canonical()
    assert copy.degree_ == degree and np.allclose(copy.predict_proba(ROWS), expected, rtol=0, atol=1e-13)
    with pytest.raises(UsageError, match="degree_"):
        a_model(degree=0)


def test_representers_are_rows():
    rows = SPACE.sample(5, np.random.default_rng(0))
    assert np.allclose(a_model().rows, rows, rtol=0, atol=1e-14)


def test_what_does_not_belong_together(tmp_path):
    model = a_model()
    good = (SPACE, model.classes, model.representers_, model.dual_coef_, model.intercept_, 0.3)
    for place, wrong in ((1, ("a", "b")), (2, model.representers_[:, :2]), (3, model.dual_coef_.T), (5, 0.0)):
        with pytest.raises(UsageError):
            KernelModel(*good[:place], wrong, *good[place + 1 :])
    incomplete = files.write(tmp_path / "half", "kernel", {"classes": ["a", "b"]}, SPACE, {})
    with pytest.raises(UsageError, match="no saved kernel model"):
        models.load(incomplete)
