import json
import math
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from filch.core.features import Numeric
from filch.errors import UsageError
from filch.models.trees.bigml import read_bigml

REAL = sorted(Path(os.environ.get("FILCH_DATA", "/nowhere")).glob("bigml_models/*.json"))

FIELDS = {
    "0": {"name": "age", "optype": "numeric", "datatype": "int8", "summary": {"minimum": 18, "maximum": 80}},
    "1": {"name": "job", "optype": "categorical", "summary": {"categories": [["a", 5], ["b", 3], ["c", 2]]}},
    "2": {"name": "y", "optype": "categorical", "summary": {"categories": [["no", 6], ["yes", 4]]}},
}


def node(number, no, yes, predicate=True, children=()):
    return {
        "id": number,
        "output": "yes" if yes > no else "no",
        "count": no + yes,
        "confidence": 0.1,
        "objective_summary": {"categories": [["no", no], ["yes", yes]]},
        "predicate": predicate,
        "children": list(children),
    }


def rule(field, operator, value):
    return {"field": field, "operator": operator, "value": value}


def model(*children):
    return {
        "resource": "model/1",
        "objective_field": "2",
        "input_fields": ["0", "1"],
        "model": {"fields": deepcopy(FIELDS), "root": node(0, 6, 4, True, children)},
    }


def two(field, first, second):
    return model(node(1, 6, 0, rule(field, *first)), node(2, 0, 4, rule(field, *second)))


NAN = math.nan
AGES = np.array([[18.0, 0], [30, 0], [31, 0], [80, 0], [NAN, 0]])
JOBS = np.array([[18.0, 0], [18, 1], [18, 2], [18, -1], [18, NAN]])


@pytest.mark.parametrize(
    ("field", "first", "second", "rows", "ids"),
    [
        ("0", ("<=", 30), (">", 30), AGES, [1, 1, 2, 2, 0]),
        ("0", (">", 30), ("<=", 30), AGES, [2, 2, 1, 1, 0]),
        ("0", ("<", 30), (">=", 30), AGES, [1, 2, 2, 2, 0]),
        ("0", (">*", 30), ("<=", 30), AGES, [2, 2, 1, 1, 1]),
        ("0", ("=", None), ("!=", None), AGES, [2, 2, 2, 2, 1]),
        ("0", ("!=", None), ("=", None), AGES, [1, 1, 1, 1, 2]),
        ("1", ("=", "b"), ("!=", "b"), JOBS, [2, 1, 2, 2, 0]),
        ("1", ("!=", "b"), ("=*", "b"), JOBS, [1, 2, 1, 1, 2]),
        ("1", ("in", ["a", "c"]), ("in", ["b"]), JOBS, [1, 2, 1, 0, 0]),
        ("1", ("in", ["a", None]), ("in", ["b", "c"]), JOBS, [1, 2, 2, 0, 1]),
        ("1", ("=", "a"), ("=", "c"), JOBS, [1, 0, 2, 0, 0]),
    ],
)
def test_operators(field, first, second, rows, ids):
    read = read_bigml(two(field, first, second))
    assert read.tree.ids[read.tree.apply(rows)].tolist() == ids


def test_what_is_read():
    read = read_bigml({"code": 200, "object": two("0", ("<=", 30), (">", 30))})
    assert (read.fields, read.objective, read.objective_name, read.resource) == (("0", "1"), "2", "y", "model/1")
    assert read.tree.space.features[0] == Numeric("age", 18, 80, integer=True)
    assert read.tree.classes == ("no", "yes") and read.tree.distribution.tolist() == [[6, 4], [6, 0], [0, 4]]


def test_a_model_of_a_single_leaf():
    assert read_bigml(model()).tree.predict(AGES).tolist() == ["no"] * 5


def test_what_is_no_model(tmp_path):
    path = tmp_path / "model.json"
    whole = json.dumps(two("0", ("<=", 30), (">", 30)))
    for text in (whole[:300], "[]", "", "{}", '{"model": {"fields": {}}}', "\x00"):
        path.write_text(text)
        with pytest.raises(UsageError):
            read_bigml(path)
    with pytest.raises(UsageError):
        read_bigml(tmp_path / "absent.json")
    path.write_text(whole)
    assert read_bigml(path).tree.n_leaves == 2


def broken(change):
    raw = two("0", ("<=", 30), (">", 30))
    change(raw)
    return raw


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw["model"]["fields"]["1"].update(optype="text"), "'job' is of type text"),
        (lambda raw: raw["model"]["fields"]["1"].update(optype="items"), "'job' is of type items"),
        (lambda raw: raw["model"]["root"]["children"][0]["predicate"].update(operator="~"), "not supported"),
        (lambda raw: raw["model"]["root"]["children"][0]["predicate"].update(value=29), "not supported"),
        (lambda raw: raw["model"]["root"]["children"][0]["predicate"].update(field="1"), "not on one input field"),
        (lambda raw: raw["model"]["root"]["children"][0].pop("output"), "incomplete"),
        (lambda raw: raw["model"]["root"]["children"][0].pop("predicate"), "incomplete"),
        (lambda raw: raw["model"]["root"]["children"].pop(), "not supported"),
        (lambda raw: raw.pop("objective_field"), "cut off"),
        (lambda raw: raw.update(input_fields=[]), "no input fields"),
    ],
)
def test_models_that_are_broken(change, told):
    with pytest.raises(UsageError, match=told):
        read_bigml(broken(change))


def test_unknown_operators_on_categories():
    with pytest.raises(UsageError, match="operator '<' on categorical"):
        read_bigml(two("1", ("<", "a"), (">=", "a")))


@pytest.mark.skipif(not REAL, reason="needs bigml_models in FILCH_DATA")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_models(path):
    read = read_bigml(path)
    tree = read.tree
    inner = np.flatnonzero(tree.column >= 0)
    assert tree.n_leaves == {"iris_model": 9}.get(path.stem, 3)
    for node in inner:  # counts add up
        assert tree.count[tree.parent == node].sum() == tree.count[node]
    rows = tree.space.sample(200, np.random.default_rng(0))
    assert (tree.column[tree.apply(rows)] == -1).all()
    assert tree.apply(np.full((1, len(tree.space)), np.nan)).tolist() == [0]
