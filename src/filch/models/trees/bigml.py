"""Decision trees from BigML's model JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filch.core.columns import Categorical, Feature, Numeric
from filch.core.features import FeatureSpace
from filch.errors import UsageError
from filch.models.trees.build import STOP, Node, Split
from filch.models.trees.tree import TreeModel

_BELOW, _ABOVE = ("<", "<="), (">", ">=")
_EQUAL, _OTHER, _IN = "=", ("!=", "/="), "in"
_UNKNOWN = object()  # a value outside the vocabulary: equal to nothing


@dataclass(frozen=True, eq=False)
class BigMLTree:
    """A BigML decision tree.

    Attributes
    ----------
    tree : TreeModel
        Node ids are BigML's.
    fields : tuple of str
        The field id of each column.
    objective : str
        The objective's field id.
    objective_name : str
    resource : str
        ``model/…``; empty if the file does not say.
    raw : mapping
        The model as read: the resource's own object.
    """

    tree: TreeModel
    fields: tuple[str, ...]
    objective: str
    objective_name: str
    resource: str
    raw: Mapping[str, Any]


def read_bigml(source: str | Path | Mapping[str, Any]) -> BigMLTree:
    """Read a BigML model, as its API serves it and its bindings store it.

    Parameters
    ----------
    source : path, or the parsed JSON
        With the envelope (``{"code": 200, "object": …}``) or without.

    Raises
    ------
    UsageError
        No JSON, no such model, a field type or an operator that is not supported, or a tree that is cut off.
    """
    whole = source if isinstance(source, Mapping) else parse_bigml(Path(source))
    inner = whole.get("object", whole)
    try:
        model, fields = inner["model"], inner["model"]["fields"]
        root = model["root"]
        objective = str(inner.get("objective_field") or inner["objective_fields"][0])
        inputs = [str(name) for name in inner.get("input_fields", fields) if name in fields and name != objective]
        features = tuple(field_feature(fields[name]) for name in inputs)
        target = fields[objective]
        classes = tuple(str(name) for name, _ in target["summary"]["categories"]) if _is_class(target) else None
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise UsageError(f"this is no BigML decision tree, or it is cut off: {type(error).__name__} {error}") from error
    if not inputs:
        raise UsageError("this BigML model has no input fields")
    space = FeatureSpace(features)
    tree = TreeModel.build(space, classes, _node_tree(root, {name: j for j, name in enumerate(inputs)}, space, classes))
    return BigMLTree(tree, tuple(inputs), objective, str(target["name"]), str(inner.get("resource", "")), inner)


def parse_bigml(path: Path) -> Mapping[str, Any]:
    """Read a file of BigML's JSON."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; check the name") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no BigML model: it is not JSON ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(whole, dict):
        raise UsageError(f"{path} is no BigML model: a JSON object is wanted")
    return whole


def _is_class(field: Mapping[str, Any]) -> bool:
    return bool(field["optype"] == "categorical")


def field_feature(field: Mapping[str, Any]) -> Feature:
    """Turn one of BigML's fields into a column."""
    name, summary = str(field["name"]), field.get("summary", {})
    if field["optype"] == "numeric":
        integer = str(field.get("datatype", "")).startswith("int")
        return Numeric(name, float(summary["minimum"]), float(summary["maximum"]), integer=integer)
    if field["optype"] == "categorical":
        return Categorical(name, tuple(str(category) for category, _ in summary["categories"]))
    raise UsageError(f"field {name!r} is of type {field['optype']}: only numeric and categorical fields are supported")


def _node_tree(root: Any, columns: Mapping[str, int], space: FeatureSpace, classes: tuple[str, ...] | None) -> Node:
    top = _node(root, classes)
    stack = [(root, top)]
    while stack:
        raw, node = stack.pop()
        children = raw.get("children") or []
        if not children:
            continue
        parts = [(_predicate(child), _node(child, classes), child) for child in children]
        node.split, order = _split([predicate for predicate, _, _ in parts], columns, space)
        node.children = [parts[place][1] for place in order]
        stack.extend((child, made) for _, made, child in parts)
    return top


def _node(raw: Any, classes: tuple[str, ...] | None) -> Node:
    try:
        summary = raw.get("weighted_objective_summary") or raw["objective_summary"]
        pairs = next(summary[unit] for unit in ("bins", "counts", "categories") if unit in summary)
        confidence = raw.get("confidence")
        node = Node(count=float(raw["count"]), id=int(raw["id"]))
        node.confidence = math.nan if confidence is None else float(confidence)
        if classes is None:
            node.value = float(raw["output"])
            node.bins = [[float(value), float(weight)] for value, weight in pairs]
        else:
            node.label = classes.index(raw["output"])
            weights = {str(name): float(weight) for name, weight in pairs}
            node.distribution = [weights.get(name, 0.0) for name in classes]
        return node
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise UsageError(f"a node of this BigML model is incomplete: {type(error).__name__} {error}") from error


@dataclass(frozen=True)
class _Predicate:
    operator: str
    field: str
    value: Any
    missing: bool

    def takes(self, value: object) -> bool:
        """Whether a category (None: a missing value) is taken, as BigML's bindings decide it."""
        if value is None:
            return self.missing or (self.operator == _EQUAL and self.value is None)
        if self.operator == _IN:
            return bool(value in self.value)
        return bool(value == self.value) == (self.operator == _EQUAL)


def _predicate(raw: Any) -> _Predicate:
    try:
        found = raw["predicate"]
        operator, value = str(found["operator"]), found["value"]
        if found.get("term") is not None:
            raise UsageError("this BigML model splits on a term of a text: only numbers and categories are supported")
        missing = operator.endswith("*") or (operator == _IN and None in value)
        return _Predicate(operator.removesuffix("*"), str(found["field"]), value, missing)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"a predicate of this BigML model is incomplete: {type(error).__name__} {error}") from error


def _split(parts: Sequence[_Predicate], columns: Mapping[str, int], space: FeatureSpace) -> tuple[Split, list[int]]:
    """The split that predicates make together, and the order in which it wants the children."""
    field = parts[0].field
    if any(part.field != field for part in parts) or field not in columns:
        raise UsageError(f"a split of this BigML model is not on one input field: {field!r}")
    column = columns[field]
    feature = space.features[column]
    places = list(range(len(parts)))
    missing = next((place for place in places if parts[place].takes(None)), STOP)
    if isinstance(feature, Categorical):
        for part in parts:
            if part.operator not in (_EQUAL, *_OTHER, _IN):
                raise UsageError(f"operator {part.operator!r} on categorical field {feature.name!r} is not supported")

        def first(value: object) -> int:
            return next((place for place in places if parts[place].takes(value)), STOP)

        taken = tuple(first(category) for category in feature.categories)
        return _dense(Split(column, None, taken, first(_UNKNOWN), missing), places)
    operators = [part.operator for part in parts]
    if len(parts) == 2 and all(part.value is None for part in parts):  # is missing / is not missing
        here = operators.index(_EQUAL) if _EQUAL in operators else 1
        if operators[1 - here] in _OTHER:
            return Split(column, math.inf, missing=1), [1 - here, here]
    for low in (0, 1):
        if len(parts) == 2 and operators[low] in _BELOW and operators[1 - low] in _ABOVE:
            bounds = [float(parts[low].value), float(parts[1 - low].value)]
            if bounds[0] != bounds[1] or (operators[low] == "<=") != (operators[1 - low] == ">"):
                break
            threshold = bounds[0] if operators[low] == "<=" else math.nextafter(bounds[0], -math.inf)
            order = [low, 1 - low]
            return Split(column, threshold, missing=STOP if missing == STOP else order.index(missing)), order
    told = ", ".join(f"{part.operator} {part.value}" for part in parts)
    raise UsageError(f"a split of field {feature.name!r} into {told} is not supported")


def _dense(split: Split, places: list[int]) -> tuple[Split, list[int]]:
    """Leave out the children that no value leads to."""
    used = [place for place in places if place in split.route]
    new = {place: index for index, place in enumerate(used)} | {STOP: STOP}
    taken = tuple(new[place] for place in split.places)
    return Split(split.column, None, taken, new[split.unknown], new[split.missing]), used
