import numpy as np
import pytest

from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.errors import UsageError
from filch.models import BoxesModel, load

SPACE = FeatureSpace((Numeric("x", 0, 2), Categorical("c", ("a", "b", "c"))))


def boxes(classes=("no", "yes")):
    low, high = np.array([[-np.inf, -np.inf], [1.0, -np.inf]]), np.array([[1.0, np.inf], [np.inf, np.inf]])
    taken = np.array([[True, True, True], [True, False, False]])
    return BoxesModel(SPACE, classes, low, high, taken, np.array([1, 0]))


def test_the_first_box_that_holds_a_row_answers():
    rows = np.array([[1.0, 2], [1.1, 0], [1.1, 1], [np.nan, 1], [1.5, -1]])
    assert boxes().which(rows).tolist() == [0, 1, -1, 0, 1]
    assert boxes().predict(rows).tolist() == ["yes", "no", "no", "yes", "no"]


def test_files(tmp_path):
    rows = SPACE.sample(100, np.random.default_rng(0))
    for classes in (("no", "yes"), None):
        model = boxes(classes)
        again = load(model.save(tmp_path / "boxes"))
        assert again.predict(rows).tolist() == model.predict(rows).tolist() and again.n_parameters == model.n_parameters


def test_shapes_that_do_not_fit():
    whole = boxes()
    with pytest.raises(UsageError, match="of shape"):
        BoxesModel(SPACE, None, whole.low[:1], whole.high, whole.open, whole.answer)
    with pytest.raises(UsageError, match="one column a category"):
        BoxesModel(SPACE, None, whole.low, whole.high, whole.open[:, :2], whole.answer)
