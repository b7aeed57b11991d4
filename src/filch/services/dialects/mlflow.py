"""MLflow's scoring protocol: ``/invocations`` with ``inputs`` (a matrix) or ``dataframe_split`` (named columns).

A model's answer is whatever its ``pyfunc_predict_fn`` gives: labels as it is saved by default, probabilities if it
was saved with ``predict_proba``. The protocol tells no schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

import filch
from filch.core.answers import Answers
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.errors import BadAnswer, SchemaError, UsageError
from filch.services.dialects.base import (
    Dialect,
    Facts,
    Question,
    Scalar,
    assemble,
    by_columns,
    coded,
    matrix,
    numbers,
    parse,
)

_LABELS_NOT_PROBABILITIES = (
    "MLflow answers labels, not probabilities: save the model with pyfunc_predict_fn='predict_proba', "
    "or pass reveal='labels'"
)
_PATH = re.compile(r"(?P<base>.*?)(?:/invocations)?/?")


class _Split(msgspec.Struct):
    columns: list[str]
    data: list[list[Scalar]]
    index: list[Any] | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[list[float | None]] | None = None
    dataframe_split: _Split | None = None


class _Response(msgspec.Struct):
    predictions: list[Any]


@dataclass(frozen=True)
class MLflow:
    """The protocol of ``mlflow models serve``."""

    name: Literal["mlflow"] = "mlflow"

    def needs(self, spec: OracleSpec) -> str | None:
        """One answer a row: a label, the probabilities or a value."""
        level = spec.reveal.level
        if level in ("scores", "node"):
            return f"MLflow's protocol shows labels, probabilities or a value, but no {level}"
        return None

    # ── the client's half ───────────────────────────────────────────────────────────────────────────────

    def endpoint(self, path: str) -> str:
        """``/invocations``, from that or from the path above it."""
        if path.rstrip("/").endswith("/infer"):
            raise UsageError(f"the path {path!r} is KServe's: leave out dialect='mlflow' (--dialect mlflow)")
        found = _PATH.fullmatch(path)
        return f"{found['base'] if found else path}/invocations"

    def metadata(self, endpoint: str) -> None:
        """The protocol tells none."""
        return None

    def learn(self, body: bytes) -> tuple[Dialect, Facts]:
        """Nothing: the protocol has no metadata."""
        raise BadAnswer("MLflow's protocol has no metadata")

    def encode_rows(self, rows: Rows, spec: OracleSpec) -> bytes:
        """Write a request: ``inputs`` for a plain matrix, else ``dataframe_split``."""
        if not by_columns(spec.space):
            return msgspec.json.encode({"inputs": rows.tolist()})
        frame = spec.space.decode(rows)
        data = list(zip(*(frame[name].tolist() for name in frame), strict=True))
        return msgspec.json.encode({"dataframe_split": {"columns": list(frame), "data": data}})

    def decode_answers(self, body: bytes, rows: Rows, spec: OracleSpec) -> Answers:
        """Read a response."""
        predictions = parse(body, _Response, BadAnswer, "the answer").predictions
        kinds = set(map(type, predictions))
        if spec.reveal.shows_probabilities:
            return assemble(rows, spec, probabilities=_table(predictions, kinds))
        if kinds == {list}:  # labels or values as a column
            if any(len(row) != 1 for row in predictions):
                raise BadAnswer("the API answers several numbers a row: pass reveal='probabilities' if they are that")
            predictions = [row[0] for row in predictions]
            kinds = set(map(type, predictions))
        if spec.classes is not None:
            if not kinds <= {str, bool, int, float}:
                raise BadAnswer("the predictions are no labels: pass reveal= as the API has it")
            return assemble(rows, spec, names=predictions)
        if not kinds <= {int, float}:
            raise BadAnswer("the predictions are no numbers: pass reveal='labels' and classes= if they are labels")
        return assemble(rows, spec, value=numbers(predictions, BadAnswer))

    # ── the server's half ───────────────────────────────────────────────────────────────────────────────

    def route(self, model: str) -> str:
        """``/invocations``: such a server has one model."""
        return "/invocations"

    def documents(self, model: str, spec: OracleSpec) -> Mapping[str, bytes]:
        """Health, and a version."""
        return {"/ping": b"\n", "/health": b"\n", "/version": f"filch {filch.__version__}".encode()}

    def decode_rows(self, body: bytes, spec: OracleSpec) -> Question:
        """Read a request."""
        request = parse(body, _Request, SchemaError, "the request")
        split, width = request.dataframe_split, len(spec.space)
        if (split is None) == (request.inputs is None):
            raise SchemaError("send either 'inputs' or 'dataframe_split'")
        if split is None:
            if by_columns(spec.space):
                raise SchemaError("this model takes named columns: send 'dataframe_split'")
            table: list[list[Any]] = request.inputs or []
            order = list(range(width))
        else:
            table = split.data
            order = _order(split.columns, spec.space.names)
        if not table:
            raise SchemaError("the request has no rows")
        wrong = next((len(row) for row in table if len(row) != width), None)
        if wrong is not None:
            raise SchemaError(f"a row has {wrong} columns: this model takes {width}")
        if split is None:
            return Question(matrix([value for row in table for value in row], len(table), width, spec))
        columns = list(zip(*table, strict=True))
        return Question(coded([columns[j] for j in order], spec))

    def encode_answers(self, answers: Answers, question: Question, model: str, spec: OracleSpec) -> bytes:
        """Write a response."""
        predictions: list[Any]
        if answers.probabilities is not None:
            predictions = answers.probabilities.tolist()
        elif answers.labels is not None and spec.classes is not None:
            predictions = [spec.classes[label] for label in answers.labels]
        elif answers.value is not None:
            predictions = answers.value.tolist()
        else:
            raise UsageError("MLflow's protocol has no place for such answers")
        return msgspec.json.encode({"predictions": predictions})


def _order(columns: list[str], names: tuple[str, ...]) -> list[int]:
    """Where each column of the space stands in the request."""
    if sorted(columns) != sorted(names):
        absent, extra = set(names) - set(columns), set(columns) - set(names)
        told = f"lacks column {min(absent)!r}" if absent else f"has the unknown column {min(extra)!r}" if extra else ""
        raise SchemaError(f"the request {told or 'names a column twice'}: send {', '.join(map(repr, names[:8]))}")
    return [columns.index(name) for name in names]


def _table(predictions: list[Any], kinds: set[type]) -> Any:
    if kinds and kinds <= {str, bool, int, float}:
        raise BadAnswer(_LABELS_NOT_PROBABILITIES)
    if kinds != {list} or len(set(map(len, predictions))) != 1 or not predictions[0]:
        raise BadAnswer("the predictions are no table of probabilities")
    flat = [value for row in predictions for value in row]
    if not set(map(type, flat)) <= {int, float, type(None)}:
        raise BadAnswer("the predictions hold something else than numbers")
    return numbers(flat, BadAnswer).reshape(len(predictions), -1)
