"""Logistic models: files, canonical form, bad input."""

import numpy as np
import pytest

import filch
from filch import models
from filch.errors import UsageError
from filch.models import LogisticModel


def a_model(link="softmax"):
    space = filch.FeatureSpace((filch.Numeric("n", 0, 4), filch.Categorical("c", ("u", "v", "w"))))
    rng = np.random.default_rng(0)
    vectors = 1 if link == "logistic" else 3
    classes = ("a", "b") if link == "logistic" else ("a", "b", "c")
    return LogisticModel(space, classes, rng.normal(size=(vectors, 4)), rng.normal(size=vectors), link)


@pytest.mark.parametrize("link", ["logistic", "softmax", "ovr"])
def test_saved_and_loaded_is_the_same_function(tmp_path, link):
    model = a_model(link)
    rows = model.space.sample(50, np.random.default_rng(1))
    copy = models.load(model.save(tmp_path / "copy"))
    assert (copy.predict_proba(rows) == model.predict_proba(rows)).all()
    assert (copy.predict(model.space.decode(rows)) == model.predict(rows)).all()
    assert copy.feature_names_ == ("n", "c=u", "c=v", "c=w")


@pytest.mark.parametrize("link", ["logistic", "softmax", "ovr"])
def test_canonical_form_is_the_same_function_with_zero_sums(link):
    model = a_model(link)
    canonical = model.canonical()
    rows = model.space.sample(50, np.random.default_rng(1))
    assert np.allclose(canonical.predict_proba(rows), model.predict_proba(rows), atol=1e-12)
    assert np.allclose(canonical.coef_[:, 1:].sum(axis=1), 0.0)
    if link == "softmax":
        assert np.allclose(canonical.coef_.sum(axis=0), 0.0)


def test_probabilities_far_from_every_class_stay_finite():
    model = a_model("ovr")
    steep = LogisticModel(model.space, model.classes, model.coef_ * 1e4, model.intercept_ - 1e5, "ovr")
    shown = steep.predict_proba(model.space.sample(20, np.random.default_rng(0)))
    assert np.isfinite(shown).all() and np.allclose(shown.sum(axis=1), 1.0)


def test_shapes_and_files_that_are_wrong(tmp_path):
    model = a_model()
    with pytest.raises(UsageError, match="coef_ of shape"):
        LogisticModel(model.space, model.classes, model.coef_[:, :2], model.intercept_, "softmax")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nonsense")
    for name in ("bad.npz", "absent.npz"):
        with pytest.raises(UsageError, match="no saved model"):
            models.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(UsageError, match="no saved model"):
        models.load(tmp_path / "other.npz")
