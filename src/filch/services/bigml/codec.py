"""What an oracle reads off BigML's resources: the public facts of a model, and the answers in predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from filch.core.answers import Answers, Reveal
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import OracleSpec
from filch.errors import BadAnswer
from filch.models.trees.bigml import field_feature
from filch.models.trees.bigml_write import MISSING_TOKENS
from filch.services.bigml.inputs import DECIMALS, Inputs
from filch.services.dialects.base import assemble


class _Prediction(msgspec.Struct):
    output: str | int | float | None = None
    prediction: Any = None
    confidence: float | None = None
    probabilities: list[tuple[str, float]] | None = None
    fields: dict[str, Any] | None = None
    objective_fields: list[str] = []


@dataclass(frozen=True, eq=False)
class PublicModel:
    """What BigML shows of a model, black box or not.

    Attributes
    ----------
    resource : str
    spec : OracleSpec
    inputs : Inputs
    price : float
        Credits that a prediction costs.
    """

    resource: str
    spec: OracleSpec
    inputs: Inputs
    price: float

    def decode(self, predictions: Sequence[Any], rows: Rows) -> Answers:
        """Read predictions, one for each row.

        Raises
        ------
        BadAnswer
            An answer that cannot be read, or that cannot be true.
        """
        read = [_converted(prediction) for prediction in predictions]
        outputs = [_output(prediction) for prediction in read]
        told = self.spec.reveal.level
        if told == "probabilities":
            return assemble(rows, self.spec, names=list(map(str, outputs)), probabilities=self._shares(read))
        if self.spec.classes is None:
            if not all(isinstance(output, (int, float)) for output in outputs):
                raise BadAnswer("BigML answers a text where a number is predicted")
            answers = assemble(rows, self.spec, value=np.array(outputs, dtype=np.float64))
        else:
            answers = assemble(rows, self.spec, names=list(map(str, outputs)))
        confidence = fields = None
        if told == "confidence":
            confidence = np.array([np.nan if p.confidence is None else p.confidence for p in read])
            if all(p.fields is not None for p in read):
                fields = np.array([[name in (p.fields or ()) for name in self.inputs.ids] for p in read], dtype=bool)
        return Answers(rows, labels=answers.labels, value=answers.value, confidence=confidence, fields=fields)

    def _shares(self, read: Sequence[_Prediction]) -> np.ndarray[Any, np.dtype[np.float64]]:
        assert self.spec.classes is not None
        shares = np.full((len(read), self.spec.n_classes), np.nan)
        for i, prediction in enumerate(read):
            told = dict(prediction.probabilities or ())
            if told.keys() != set(self.spec.classes):
                raise BadAnswer("BigML's answer does not hold the probability of each class")
            shares[i] = [told[str(name)] for name in self.spec.classes]
        return shares


def public_model(resource: Mapping[str, Any], *, reveal: str | None = None, omission: bool = True) -> PublicModel:
    """Read the public facts off a resource.

    Parameters
    ----------
    resource : mapping
        The resource's own object, as GET answers.
    reveal : str, optional
        ``labels``, or what predictions show: confidences of a tree, probabilities of a logistic regression.
    omission : bool, default True
        Whether incomplete rows may be asked.

    Raises
    ------
    BadAnswer
        The resource lacks its fields.
    UsageError
        A type of field that is not supported.
    """
    try:
        logistic = "logistic_regression" in resource
        part = resource["logistic_regression" if logistic else "model"]
        fields = part["fields"]
        goal = str((resource.get("objective_fields") or [resource["objective_field"]])[0])
        ids = tuple(str(f) for f in resource.get("input_fields") or fields if f in fields and f != goal)
        space = FeatureSpace(tuple(field_feature(fields[f]) for f in ids))
        target, tokens = fields[goal], part.get("missing_tokens")
        classes = None
        if target["optype"] == "categorical":
            classes = tuple(str(name) for name, _ in target["summary"]["categories"])
        price = float(resource.get("credits_per_prediction") or 0)
        name = str(resource["resource"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadAnswer(f"BigML's answer is no model that shows its fields: {type(error).__name__} {error}") from error
    omission = omission and (not logistic or bool(part.get("missing_numerics", False)))
    level = reveal or ("probabilities" if logistic else "confidence")
    spec = OracleSpec(space, classes, Reveal(level, DECIMALS), omission, max_batch=1)
    return PublicModel(name, spec, Inputs(space, ids, tuple(MISSING_TOKENS if tokens is None else tokens)), price)


def _converted(prediction: Any) -> _Prediction:
    try:
        return msgspec.convert(prediction, type=_Prediction)
    except msgspec.ValidationError as error:
        raise BadAnswer(f"BigML's prediction is not understood: {error}") from error


def _output(prediction: _Prediction) -> str | int | float:
    found = prediction.output
    if found is None and isinstance(prediction.prediction, dict) and prediction.prediction:
        found = next(iter(prediction.prediction.values()))
    if not isinstance(found, (str, int, float)):
        raise BadAnswer("BigML's prediction holds no output")
    return found
