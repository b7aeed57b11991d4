"""The decision trees of the reproductions: data like the paper's, about its numbers of leaves [Tramèr16, Table 5].

BigML's public models are no longer there to ask, so these are scikit-learn's trees, over one-hot columns, turned into
trees over raw columns with BigML's confidences. A leaf's id is its label with the confidence to 5 decimals, or its
value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.datasets import load
from filch.models.trees.sklearn import from_sklearn
from filch.models.trees.tree import TreeModel

_TEST = 0.3  # the share of the test rows [Tramèr16, §4.1]


@dataclass(frozen=True)
class TreeRecipe:
    """How a target tree is made.

    Attributes
    ----------
    dataset : str
    target : str
        The column to predict.
    leaves : int
        At most; the best splits come first.
    drop : tuple of str
    regression : bool
    tuned : bool
        Whether the attacks were made, and their settings chosen, while looking at it.
    printed : str
        The row of Table 6 that it stands for; empty if none.
    """

    dataset: str
    target: str
    leaves: int
    drop: tuple[str, ...] = ()
    regression: bool = False
    tuned: bool = True
    printed: str = ""


TREES: Mapping[str, TreeRecipe] = MappingProxyType(
    {
        "german-credit": TreeRecipe("german-credit", "credit_risk", 26, printed="German credit"),
        "steak": TreeRecipe(
            "steak",
            "How do you like your steak prepared?",
            193,
            ("RespondentID", "Do you eat steak?"),
            printed="Steak survey",
        ),
        "gss": TreeRecipe(
            "gss",
            "Happiness level",
            159,
            ("id", "Happiness of marriage", "watched x-rated movies in the last year"),
            printed="GSS survey",
        ),
        "spambase": TreeRecipe("spambase", "type", 219, printed="Email spam"),
        "adult": TreeRecipe("adult", "income", 109),
        "adult-hours": TreeRecipe("adult", "hours_per_week", 49, regression=True, printed="Medical cover"),
        "progression": TreeRecipe("progression", "progression", 155, regression=True, printed="Bitcoin price"),
        "diabetes": TreeRecipe("diabetes", "class", 80),
        # Not looked at while the attacks were made:
        "mushrooms": TreeRecipe("mushrooms", "classification", 40, tuned=False),
        "german-amount": TreeRecipe("german-credit", "credit_amount", 100, regression=True, tuned=False),
        "adult-age": TreeRecipe("adult", "age", 150, regression=True, tuned=False),
    }
)


@dataclass(frozen=True, eq=False)
class TreeTarget:
    """A target tree, and real rows to judge copies on.

    Attributes
    ----------
    name : str
    recipe : TreeRecipe
    tree : TreeModel
    X_test : coded rows of shape (n, d)
    records : int
        All rows, train and test.
    """

    name: str
    recipe: TreeRecipe
    tree: TreeModel
    X_test: Rows
    records: int

    @property
    def unique(self) -> int:
        """How many different ids the leaves have."""
        leaves = self.tree.leaves_
        told = self.tree.value if self.tree.classes is None else self.tree.label
        return len({(told[leaf], self.tree.confidence[leaf]) for leaf in leaves.tolist()})


@lru_cache(maxsize=16)
def tree_target(name: str, seed: int = 0) -> TreeTarget:
    """Train a target tree on 70 % of its records.

    Parameters
    ----------
    name : str
        Of `TREES`.
    seed : int, default 0
        Of the split into train and test rows.

    Examples
    --------
    >>> target = tree_target("german-credit")
    >>> target.tree.n_leaves, target.unique
    (26, 23)
    """
    recipe = TREES[name]
    raw, y = _table(recipe)
    space = FeatureSpace.from_frame(raw, missing="category")
    train, test, y_train, _ = train_test_split(
        raw, y, test_size=_TEST, stratify=None if recipe.regression else y, random_state=seed
    )
    rows = space.encode(train)
    view = OneHot(space)
    encoded = view.encode(rows)
    encoded[:, view.starts[~space.categorical]] = rows[:, ~space.categorical]  # numbers as they are
    kind = DecisionTreeRegressor if recipe.regression else DecisionTreeClassifier
    fitted = kind(max_leaf_nodes=recipe.leaves, random_state=0).fit(encoded, y_train)
    own = {"X": encoded, "y": y_train} if recipe.regression else {}
    return TreeTarget(name, recipe, from_sklearn(fitted, space, **own), space.encode(test), len(raw))


def _table(recipe: TreeRecipe) -> tuple[pd.DataFrame, npt.NDArray[np.generic]]:
    """Raw columns without missing numbers, and the target column."""
    if recipe.dataset == "progression":
        raw, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
        return raw, y.to_numpy()
    frame = load(recipe.dataset).frame
    frame = frame[frame[recipe.target].notna()].drop(columns=list(recipe.drop))
    raw, y = frame.drop(columns=recipe.target), frame[recipe.target].to_numpy()
    for name in {"age", "children"} & set(raw.columns) if recipe.dataset == "gss" else ():
        words = raw[name].str.replace("EIGHT", "8").str.extract(r"(\d+)")[0]  # "89 OR OLDER", "EIGHT OR MORE"
        numbers = pd.to_numeric(words)
        raw[name] = numbers.fillna(numbers.median()).astype(int)
    return raw, y
