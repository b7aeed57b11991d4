"""Decision trees as BigML's model JSON; the inverse of `filch.models.trees.bigml.read_bigml`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from filch.core.columns import Categorical, Feature
from filch.errors import UsageError
from filch.models.trees.build import STOP
from filch.models.trees.tree import TreeModel

MISSING_TOKENS = (
    "", "N/A", "n/a", "NULL", "null", "-", "#DIV/0", "#REF!", "#NAME?", "NIL", "nil", "NA", "na", "#VALUE!", "#NULL!",
    "NaN", "#N/A", "#NUM!", "?",
)  # fmt: skip
"""The texts that BigML takes for a missing value unless a model says otherwise."""
FINISHED = 5
"""BigML's status of a resource that is ready."""
_NONE = "(none)"  # the category "missing", which BigML's categories cannot be


def to_bigml(tree: TreeModel, *, objective: str = "objective", name: str = "tree") -> dict[str, Any]:
    """Write a tree as the model resource that BigML's API serves, with its envelope.

    Categories and classes become text, and the category ``None`` becomes ``(none)``. Columns get the field ids
    ``000000``, ``000001``, …; the objective comes last. Steps of numeric columns are not kept. The resource id is a
    hash of the tree.

    Parameters
    ----------
    tree : TreeModel
        With distributions, if it classifies.
    objective : str, default "objective"
        The name of the predicted column.
    name : str, default "tree"
        The model's name.

    Raises
    ------
    UsageError
        Categories that are the same as text, or a split for which BigML has no predicates.

    Examples
    --------
    >>> from filch.core.features import FeatureSpace
    >>> from filch.models.trees.tree import Node, Split
    >>> leaves = [Node(label=0, distribution=[3, 0], count=3), Node(label=1, distribution=[0, 2], count=2)]
    >>> root = Node(label=0, distribution=[3, 2], count=5, split=Split(0, 1.5), children=leaves)
    >>> written = to_bigml(TreeModel.build(FeatureSpace.box([0], [2]), ("a", "b"), root))
    >>> [child["predicate"]["operator"] for child in written["object"]["model"]["root"]["children"]]
    ['<=', '>']
    """
    space = tree.space
    ids = [f"{j:06x}" for j in range(len(space) + 1)]
    fields = {field: _field(feature, j) for j, (field, feature) in enumerate(zip(ids, space.features, strict=False))}
    used = {text for field in fields.values() for text, _ in field["summary"].get("categories", ())}
    root = _nodes(tree, ids)
    summary, optype = root["objective_summary"], "numeric"
    if tree.classes is not None:
        optype = "categorical"
        summary = {"categories": _texts("the objective", tree.classes, tree.distribution[0])}
    else:
        bins = summary["bins"]
        summary = {"bins": bins, "minimum": min(bins)[0], "maximum": max(bins)[0]}
    fields[ids[-1]] = {"name": objective, "optype": optype, "column_number": len(space), "summary": summary}
    fields[ids[-1]]["datatype"] = "string" if optype == "categorical" else "double"
    digest = hashlib.sha256(repr([tree.space, tree.classes, *map(_bytes, _parts(tree))]).encode()).hexdigest()[:24]
    model = {
        "kind": "mtree",
        "fields": fields,
        "model_fields": {field: _plain(fields[field]) for field in ids},
        "missing_tokens": [token for token in MISSING_TOKENS if token not in used],
        "importance": [],
        "distribution": {"training": root["objective_summary"], "predictions": root["objective_summary"]},
        "root": root,
    }
    return envelope(
        f"model/{digest}",
        {
            "name": name,
            "input_fields": ids[:-1],
            "objective_field": ids[-1],
            "objective_fields": [ids[-1]],
            "objective_field_name": objective,
            "model": model,
        },
    )


def envelope(resource: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap a resource as BigML's bindings store one."""
    facts = {
        "code": 200,
        "resource": resource,
        "description": "",
        "locale": "en_US",
        "white_box": False,
        "credits_per_prediction": 0.0,
        "price": 0.0,
        "status": {"code": FINISHED, "message": "The model has been created", "progress": 1.0},
    }
    return {"code": 200, "resource": resource, "location": resource, "object": {**facts, **content}, "error": None}


def field_of(feature: Feature, column: int) -> dict[str, Any]:
    """A column as BigML describes a field, with the ranges and categories that it shows."""
    return _field(feature, column)


def _field(feature: Feature, column: int) -> dict[str, Any]:
    plain = {"name": feature.name, "column_number": column, "order": column, "preferred": True}
    if isinstance(feature, Categorical):
        texts = _texts(f"column {feature.name!r}", feature.categories, np.ones(len(feature.categories)))
        return plain | {"optype": "categorical", "datatype": "string", "summary": {"categories": texts}}
    datatype = "int32" if feature.integer else "double"
    return plain | {
        "optype": "numeric",
        "datatype": datatype,
        "summary": {"minimum": feature.low, "maximum": feature.high},
    }


def _plain(field: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in field.items() if name != "summary"}


def _text(category: object) -> str:
    return _NONE if category is None else str(category)


def _texts(whose: str, categories: tuple[Any, ...], weights: Any) -> list[list[Any]]:
    texts = [[_text(category), float(weight)] for category, weight in zip(categories, weights, strict=True)]
    if len({text for text, _ in texts}) < len(texts):
        raise UsageError(f"two categories of {whose} are the same as text: rename one")
    return texts


def _parts(tree: TreeModel) -> list[Any]:
    names = ("column", "threshold", "start", "route", "ids", "label", "value", "confidence", "count", "distribution")
    return [getattr(tree, name) for name in (*names, "bin_start", "bins")]


def _bytes(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _nodes(tree: TreeModel, ids: list[str]) -> dict[str, Any]:
    """The tree as nested nodes."""
    nodes = [_node(tree, index) for index in range(len(tree.column))]
    nodes[0]["predicate"] = True
    for index in np.flatnonzero(tree.column >= 0).tolist():
        column = int(tree.column[index])
        children = tree.child[tree.child_start[index] : tree.child_start[index] + tree.n_children[index]].tolist()
        route = tree.route[tree.start[index] : tree.start[index + 1]].tolist()
        places = [children.index(node) if node != STOP else STOP for node in route]
        threshold = float(tree.threshold[index])
        for place, child in enumerate(children):
            predicate = _predicate(tree.space.features[column], threshold, places, place)
            nodes[child]["predicate"] = {"field": ids[column], **predicate}
        nodes[index]["children"] = [nodes[child] for child in children]
    return nodes[0]


def _node(tree: TreeModel, index: int) -> dict[str, Any]:
    confidence = float(tree.confidence[index])
    node: dict[str, Any] = {
        "id": int(tree.ids[index]),
        "count": _whole(float(tree.count[index])),
        "confidence": None if math.isnan(confidence) else confidence,
    }
    if tree.classes is not None:
        label = int(tree.label[index])
        weights = tree.distribution[index].tolist() or [float(k == label) for k in range(len(tree.classes))]
        texts = [[_text(c), _whole(w)] for c, w in zip(tree.classes, weights, strict=True) if w]
        return node | {"output": _text(tree.classes[label]), "objective_summary": {"categories": texts}}
    value = float(tree.value[index])
    bins = tree.bins[tree.bin_start[index] : tree.bin_start[index + 1]].tolist() or [[value, node["count"] or 1]]
    return node | {"output": value, "objective_summary": {"bins": [[v, _whole(w)] for v, w in bins]}}


def _whole(number: float) -> float | int:
    return int(number) if number.is_integer() else number


def _predicate(feature: Feature, threshold: float, places: list[int], place: int) -> dict[str, Any]:
    """What sends a value to the child at ``place``; ``places`` are those of missing, unknown, and each value."""
    missing, unknown, *values = places
    star = "*" if missing == place else ""
    if not isinstance(feature, Categorical):
        if math.isinf(threshold):  # is missing / is not missing
            if missing in (STOP, values[0]):
                raise UsageError(f"a split of {feature.name!r} at infinity has no predicate")
            return {"operator": "=" if star else "!=", "value": None}
        return {"operator": ("<=", ">")[values.index(place)] + star, "value": threshold}
    names = [_text(category) for category, to in zip(feature.categories, values, strict=True) if to == place]
    if unknown == place:
        others = [_text(category) for category, to in zip(feature.categories, values, strict=True) if to != place]
        if len(others) == 1:
            return {"operator": "!=" + star, "value": others[0]}
        raise UsageError(f"a split of {feature.name!r} sends unknown values where BigML has no predicate for them")
    if len(names) == 1:
        return {"operator": "=" + star, "value": names[0]}
    return {"operator": "in", "value": [*names, None] if star else names}
