import pickle

import numpy as np
import pytest
from sklearn.preprocessing import PolynomialFeatures
from sklearn.svm import SVC

import filch
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.errors import UsageError
from filch.models import load
from filch.models.polynomial import Monomials, PolynomialModel

BOX = FeatureSpace.box([-1] * 4, [1] * 4)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_over_numbers_the_map_is_that_of_all_monomials(degree):
    rows = BOX.sample(20, np.random.default_rng(0))
    ours = Monomials(BOX, degree).matrix(rows)
    theirs = PolynomialFeatures(degree).fit_transform(rows)
    assert ours.shape == theirs.shape == (20, Monomials.count(4, degree))
    assert np.abs(ours[:, np.lexsort(ours)] - theirs[:, np.lexsort(theirs)]).max() < 1e-15


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("coef0", [0.0, 1.0])
def test_a_kernel_machine_is_linear_in_the_map(degree, coef0):
    space = FeatureSpace.box([3, -50, 0.1], [9, 20, 0.2])
    rng = np.random.default_rng(1)
    X = space.sample(200, rng)
    model = SVC(kernel="poly", degree=degree, coef0=coef0, gamma=0.01).fit(X, rng.random(200) < 0.5)
    rows = space.sample(300, rng)
    matrix, scores = Monomials(space, degree).matrix(rows), model.decision_function(rows)
    weights = np.linalg.lstsq(matrix, scores, rcond=None)[0]
    assert np.abs(matrix @ weights - scores).max() < 1e-7 * np.abs(scores).max()


def test_columns_of_few_values_add_no_monomial_twice():
    space = FeatureSpace(
        (
            Numeric("a", -1, 1),
            Numeric("flag", 0, 1, integer=True),
            Numeric("three", 0, 2, integer=True),
            Categorical("c", ("x", "y", "z")),
            Numeric("still", 4, 4),
        )
    )
    view = Monomials(space, 3)
    matrix = view.matrix(space.sample(2_000, np.random.default_rng(0)))
    assert np.linalg.matrix_rank(matrix) == view.size
    assert "flag·flag" not in view.names and "three·three" in view.names and "c=y·c=z" not in view.names


def test_a_file_brings_the_model_back(tmp_path):
    model = Monomials(BOX, 2).model(np.random.default_rng(0).standard_normal(15), ("in", "out"))
    again = load(model.save(tmp_path / "model"))
    rows = BOX.sample(100, np.random.default_rng(1))
    assert isinstance(again, PolynomialModel) and again.n_parameters == 15
    assert (again.predict(rows) == model.predict(rows)).all()
    assert len(model.predict(rows[:0])) == 0


def test_use_changes_no_pickle():
    model = Monomials(BOX, 2).model(np.ones(15), ("in", "out"))
    before = pickle.dumps(model)
    model.predict(BOX.sample(10, np.random.default_rng(0)))
    assert pickle.dumps(model) == before
    assert filch.ModelOracle(pickle.loads(before), BOX, reveal="labels").ask([[0.0] * 4]).labels.tolist() == [1]


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(UsageError, match="15 weights"):
        PolynomialModel(BOX, ("in", "out"), np.ones(14), 2)
    with pytest.raises(UsageError, match="degree"):
        Monomials(BOX, 0)
