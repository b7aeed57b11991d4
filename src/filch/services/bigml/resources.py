"""The models that the emulated BigML serves: what it shows of them, and what it predicts."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filch.errors import UsageError
from filch.models import load
from filch.models.logistic_bigml import BigMLLogistic, read_bigml_logistic
from filch.models.trees.bigml import BigMLTree, parse_bigml, read_bigml
from filch.models.trees.bigml_write import FINISHED, MISSING_TOKENS, to_bigml
from filch.models.trees.tree import TreeModel
from filch.services.bigml.inputs import DECIMALS, Given, Inputs

STRATEGIES = ("last", "proportional")
"""Missing strategies 0 and 1."""
_WHITE = ("root", "distribution", "importance", "model_fields", "coefficients", "stats")  # what a black box keeps


class Served(Protocol):
    """A model that answers predictions."""

    @property
    def inputs(self) -> Inputs:
        """The input fields."""
        ...

    @property
    def resource(self) -> str:
        """``model/…`` or ``logisticregression/…``."""
        ...

    @property
    def raw(self) -> Mapping[str, Any]:
        """The resource's own object."""
        ...

    @property
    def kind(self) -> str:
        """``model`` or ``logisticregression``."""
        ...

    def predict(self, given: Given, strategy: int, *, white_box: bool) -> dict[str, Any]:
        """The part of a prediction that depends on the row.

        Raises
        ------
        UsageError
            The model cannot answer this row.
        """
        ...


@dataclass(frozen=True, eq=False)
class ServedTree:
    """A decision tree, as BigML's model resource has it."""

    source: BigMLTree
    kind: str = "model"

    @property
    def inputs(self) -> Inputs:
        """The input fields."""
        return Inputs(self.source.tree.space, self.source.fields, _tokens(self.raw["model"]))

    @property
    def raw(self) -> Mapping[str, Any]:
        """The resource's own object."""
        return self.source.raw

    @property
    def resource(self) -> str:
        """``model/…``."""
        return self.source.resource

    def predict(self, given: Given, strategy: int, *, white_box: bool) -> dict[str, Any]:
        """Output, confidence, and the fields in the request or on the path."""
        tree, ids = self.source.tree, self.source.fields
        told = tree.answer(given.row, STRATEGIES[strategy])  # type: ignore[arg-type]
        output = round(float(told.value[0]), DECIMALS) if tree.classes is None else tree.classes[int(told.label[0])]
        confidence = float(told.confidence[0])
        node = int(told.node[0])
        path, below = _path(self.raw["model"]["root"], int(tree.ids[node])) if white_box else ([], [])
        return {
            "output": output,
            "confidence": None if math.isnan(confidence) else confidence,
            "shown": [ids[j] for j in range(len(ids)) if told.fields[0, j]],
            "prediction_path": {
                "bad_fields": list(given.bad),
                "unknown_fields": list(given.unknown),
                "path": path,
                "next_predicates": below,
            },
        }


@dataclass(frozen=True, eq=False)
class ServedLogistic:
    """A logistic regression, as BigML's logisticregression resource has it."""

    source: BigMLLogistic
    kind: str = "logisticregression"

    @property
    def inputs(self) -> Inputs:
        """The input fields."""
        return Inputs(self.source.space, self.source.fields, _tokens(self.raw["logistic_regression"]))

    @property
    def raw(self) -> Mapping[str, Any]:
        """The resource's own object."""
        return self.source.raw

    @property
    def resource(self) -> str:
        """``logisticregression/…``."""
        return self.source.resource

    def predict(self, given: Given, strategy: int, *, white_box: bool) -> dict[str, Any]:
        """Output, probability, and the probabilities of all classes."""
        model = self.source
        shares = model.predict_proba(given.row)[0].tolist()
        label = max(range(len(shares)), key=lambda k: (shares[k], -k))
        return {
            "output": model.classes[label],
            "probability": shares[label],
            "probabilities": [[name, share] for name, share in zip(model.classes, shares, strict=True)],
            "shown": list(model.fields),
            "prediction_path": {"bad_fields": list(given.bad), "unknown_fields": list(given.unknown)},
        }


def served(source: str | Path | Mapping[str, Any] | TreeModel) -> Served:
    """Read a model to serve.

    Parameters
    ----------
    source : path, parsed JSON, or TreeModel
        BigML's JSON of a model or logistic regression, or a tree that filch has saved (``.npz``).

    Raises
    ------
    UsageError
        No such model, or one that is not supported.
    """
    if isinstance(source, (str, Path)) and Path(source).suffix == ".npz":
        stored = load(source)
        if not isinstance(stored, TreeModel):
            raise UsageError(f"{source} holds a {type(stored).__name__}: this dialect serves trees and BigML's JSON")
        source = stored
    if isinstance(source, TreeModel):
        source = to_bigml(source)
    if isinstance(source, (str, Path)):
        source = parse_bigml(Path(source))
    inner = source.get("object", source)
    if isinstance(inner, Mapping) and "logistic_regression" in inner:
        return _named(ServedLogistic(read_bigml_logistic(source)))
    return _named(ServedTree(read_bigml(source)))


def _named(found: Served) -> Served:
    kind, _, name = found.resource.rpartition("/")
    if kind != found.kind or len(name) != 24:
        raise UsageError(f"the JSON names no {found.kind}/… of 24 hexadecimal digits as its resource: {name!r}")
    return found


def document(model: Served, *, white_box: bool, price: float) -> dict[str, Any]:
    """What GET answers: all of a white box; of a black box the fields, their types and ranges."""
    shown = copy.deepcopy(dict(model.raw))
    part = "model" if model.kind == "model" else "logistic_regression"
    if not white_box:
        shown[part] = {name: value for name, value in shown[part].items() if name not in _WHITE}
    shown |= {"white_box": white_box, "credits_per_prediction": price, "code": 200, "resource": model.resource}
    shown.setdefault("status", {"code": FINISHED, "message": "The model has been created"})
    return shown


def _tokens(model: Mapping[str, Any]) -> tuple[str, ...]:
    told = model.get("missing_tokens")
    return MISSING_TOKENS if told is None else tuple(map(str, told))


def _path(root: Mapping[str, Any], wanted: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """The predicates that lead to a node, and those below it."""
    stack: list[tuple[Mapping[str, Any], list[Any]]] = [(root, [])]
    while stack:
        node, path = stack.pop()
        if int(node["id"]) == wanted:
            return path, [_below(child) for child in node.get("children") or []]
        stack.extend((child, [*path, child["predicate"]]) for child in node.get("children") or [])
    return [], []


def _below(child: Mapping[str, Any]) -> dict[str, Any]:
    return {**child["predicate"], "count": child["count"]}
