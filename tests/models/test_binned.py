import numpy as np
import pandas as pd
import pytest

from filch.core.features import FeatureSpace
from filch.errors import UsageError
from filch.models.additive import AdditiveModel, Part
from filch.models.binned import BinnedLinear

FRAME = pd.DataFrame(
    {"a": np.arange(40.0), "b": ["x", "y"] * 20, "c": np.tile(np.arange(10), 4), "d": np.arange(40.0) ** 2}
)
Y = np.where(FRAME["a"] + 10 * (FRAME["b"] == "x") > 20, "yes", "no")


def test_bins_hold_about_equally_many_rows_and_edges_no_data():
    model = BinnedLinear({"a": 4, "c": 10}, normalize=True).fit(FRAME, Y)
    assert model.edges_["a"].tolist() == [9.5, 19.5, 29.5]
    assert model.edges_["c"].tolist() == [k + 0.5 for k in range(9)]
    encoded = model.encode(FRAME)
    assert encoded.shape == (40, 4 + 2 + 10 + 1)
    assert (encoded[:, :4].sum(axis=0) == 10).all()
    assert abs(encoded[:, -1].mean()) < 1e-12 and abs(encoded[:, -1].std() - 1) < 1e-12


def test_omitted_and_unknown_values_add_nothing():
    model = BinnedLinear({"a": 4}, normalize=True).fit(FRAME, Y)
    rows = pd.DataFrame({"a": [np.nan], "b": ["z"], "c": [np.nan], "d": [np.nan]})
    assert not model.encode(rows).any()
    assert model.decision_function(rows)[0] == model.intercept_[0]


@pytest.mark.parametrize(
    ("y", "kind"), [(Y, "BINARY"), (FRAME["c"] % 3, "MULTICLASS"), (FRAME["a"] * 0.5, "REGRESSION")]
)
def test_kinds(y, kind):
    model = BinnedLinear(3).fit(FRAME[["a", "b", "c"]], y)
    assert model.kind == kind
    assert len(model.predict(FRAME)) == 40
    if kind != "REGRESSION":
        assert np.allclose(model.predict_proba(FRAME).sum(axis=1), 1.0)


def test_a_threshold_moves_labels():
    low, high = (BinnedLinear(4, threshold=t).fit(FRAME[["a"]], Y) for t in (0.01, 0.99))
    assert (low.predict(FRAME) == "yes").sum() > (high.predict(FRAME) == "yes").sum()


def test_an_additive_model_checks_its_shapes():
    space, part = FeatureSpace.box([0], [1]), Part(np.array([0.5]), np.zeros((2, 2)))
    with pytest.raises(UsageError, match="link"):
        AdditiveModel(space, ("a", "b"), np.zeros(2), (part,), "identity")
    with pytest.raises(UsageError, match="intercepts"):
        AdditiveModel(space, ("a", "b"), np.zeros(3), (part,), "softmax")
    with pytest.raises(UsageError, match="shape"):
        AdditiveModel(space, None, np.zeros(1), (part,))
    model = AdditiveModel(space, ("a", "b"), np.zeros(2), (part,), "softmax")
    assert model.predict_proba([[0.2]]).tolist() == [[0.5, 0.5]] and model.n_parameters == 4
