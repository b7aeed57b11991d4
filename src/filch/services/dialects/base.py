"""What a dialect is, and the checks that all of them share.

The client's half turns rows into a request and a response into `Answers`; whatever is wrong with a response is a
`BadAnswer`. The server's half turns a request into a `Question` and answers into a response; whatever is wrong with a
request is a `UsageError` (mostly a `SchemaError`), which the server reports as status 400.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.answers import Answers, Floats, Reveal
from filch.core.features import Categorical, FeatureSpace, Rows
from filch.core.oracle import ClassName, OracleSpec
from filch.errors import BadAnswer, FilchError, SchemaError

Scalar = str | bool | int | float | None
T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """What a server's metadata tells of a model; None where it tells nothing."""

    space: FeatureSpace | None = None
    classes: tuple[ClassName, ...] | None = None
    reveal: Reveal | None = None
    omission: bool = False
    max_batch: int | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """A request as the server reads it.

    Attributes
    ----------
    rows : (n, d)
        Coded rows.
    outputs : tuple of str
        The outputs that were asked for by name; empty for all.
    id : str or None
        The caller's name for the request, to be given back.
    """

    rows: Rows
    outputs: tuple[str, ...] = ()
    id: str | None = None


class Dialect(Protocol):
    """A wire format: an immutable value, used by the client and the server alike."""

    @property
    def name(self) -> str:
        """The name in the registry."""
        ...

    def needs(self, spec: OracleSpec) -> str | None:
        """Why this format cannot carry such answers, or None."""
        ...

    # ── the client's half ───────────────────────────────────────────────────────────────────────────────

    def endpoint(self, path: str) -> str:
        """The path to post rows to, from the path of the URL that a user gave.

        Raises
        ------
        UsageError
            The path names no model.
        """
        ...

    def metadata(self, endpoint: str) -> str | None:
        """The path of the model's metadata, or None if the format has none."""
        ...

    def learn(self, body: bytes) -> tuple[Dialect, Facts]:
        """Read metadata: the dialect as this server wants it spoken, and public facts.

        Raises
        ------
        BadAnswer
            This is no metadata.
        """
        ...

    def encode_rows(self, rows: Rows, spec: OracleSpec) -> bytes:
        """Write a request for rows of shape (n, d).

        Raises
        ------
        UsageError
            The format has no way to write a value.
        """
        ...

    def decode_answers(self, body: bytes, rows: Rows, spec: OracleSpec) -> Answers:
        """Read the response to a request for these rows.

        Raises
        ------
        BadAnswer
            The response cannot be read as predictions for these rows.
        """
        ...

    # ── the server's half ───────────────────────────────────────────────────────────────────────────────

    def route(self, model: str) -> str:
        """The path that takes rows for a model."""
        ...

    def documents(self, model: str, spec: OracleSpec) -> Mapping[str, bytes]:
        """What a GET of each further path answers: health and metadata, JSON (or empty)."""
        ...

    def decode_rows(self, body: bytes, spec: OracleSpec) -> Question:
        """Read a request.

        Raises
        ------
        SchemaError
            The body is malformed or does not fit the feature space.
        NotRevealed
            It asks for an output that is not revealed.
        """
        ...

    def encode_answers(self, answers: Answers, question: Question, model: str, spec: OracleSpec) -> bytes:
        """Write the response to a question."""
        ...


def parse(body: bytes | msgspec.Raw, kind: type[T], error: type[FilchError], what: str) -> T:
    """Decode JSON strictly, or raise ``error`` with one line that begins with ``what``."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        if bytes(body)[:64].lstrip().startswith(b"<"):
            raise error(f"{what} is a web page: check the address") from problem
        raise error(f"{what} is not understood: {' '.join(str(problem).split())}") from problem


def assemble(
    rows: Rows,
    spec: OracleSpec,
    *,
    names: Sequence[Scalar] | None = None,
    probabilities: Floats | None = None,
    value: Floats | None = None,
    scores: Floats | None = None,
    node: npt.NDArray[np.int64] | None = None,
) -> Answers:
    """Put what a response holds together, and check that it can be true.

    Parameters
    ----------
    rows : (n, d)
    spec : OracleSpec
    names : n class names, optional
        Where they are not told, the most probable class is the label.
    probabilities : (n, c)
        Or their logarithms, as some servers answer: no number is above 0, and the exponentials sum to 1.
    value : (n,), scores : (n, 1 or c), node : (n,), optional

    Raises
    ------
    BadAnswer
        Another number of rows or classes, an unknown class, or a number that cannot be what it is said to be.
    """
    for what, array in {"labels": names, "probabilities": probabilities, "values": value, "scores": scores}.items():
        if array is not None and len(array) != len(rows):
            raise BadAnswer(f"{len(rows)} rows were asked, but {len(array)} {what} came back")
    if node is not None and len(node) != len(rows):
        raise BadAnswer(f"{len(rows)} rows were asked, but {len(node)} nodes came back")
    for what, array in {"value": value, "score": scores}.items():
        if array is not None and not np.isfinite(array).all():
            raise BadAnswer(f"a {what} in the answer is no number")
    if probabilities is not None:
        probabilities = _from_logarithms(probabilities)
        _check_probabilities(probabilities, spec)
    labels = None
    if spec.classes is not None:
        if names is not None:
            labels = _labels(names, spec.classes)
        elif probabilities is not None:
            labels = np.nan_to_num(probabilities, nan=-1.0).argmax(axis=1).astype(np.int64)
        else:
            raise BadAnswer("the answer holds neither labels nor probabilities")
    return Answers(rows, labels=labels, probabilities=probabilities, value=value, scores=scores, node=node)


def _from_logarithms(shown: Floats) -> Floats:
    if not len(shown) or not (shown < 0.0).any() or not (shown <= 0.0).all():
        return shown  # hidden entries are NaN: a top-k answer says too little to tell
    found = np.exp(shown)
    return found if (np.abs(found.sum(axis=1) - 1.0) <= _LOGARITHMS).all() else shown


def _check_probabilities(probabilities: Floats, spec: OracleSpec) -> None:
    if probabilities.shape[1] != spec.n_classes:
        raise BadAnswer(
            f"the answer has {probabilities.shape[1]} probabilities a row, but {spec.n_classes} classes are known: "
            "pass classes= (--classes) as the model has them"
        )
    hidden = np.isnan(probabilities)
    if spec.reveal.k is None and hidden.any():
        raise BadAnswer("a probability is missing: if only the highest are shown, pass reveal='top-1' (or top-2, …)")
    if hidden.all(axis=1).any():
        raise BadAnswer("a row came back without any probability")
    if not ((probabilities >= -_ROUNDING) & (probabilities <= 1 + _ROUNDING) | hidden).all():
        raise BadAnswer("the answer holds numbers that are no probabilities: pass reveal= as the API has it")


_LOGARITHMS = 1e-3  # by which the exponentials of logarithms may miss a sum of 1: they may be rounded
_ROUNDING = 1e-6  # servers that compute in float32 leave [0, 1] by so much


def _labels(names: Sequence[Scalar], classes: tuple[ClassName, ...]) -> npt.NDArray[np.int64]:
    kinds = set(map(type, names))
    # For Python True is 1 and in a response it is not, so each kind of name has its own lookup.
    lookup = {name: index for index, name in enumerate(classes) if (type(name) is bool) == (kinds == {bool})}
    mixed = bool in kinds and len(kinds) > 1
    labels = np.array([-1 if mixed else lookup.get(name, -1) for name in names], dtype=np.int64)  # type: ignore[arg-type]
    if (labels < 0).any():
        name = names[int((labels < 0).argmax())]
        known = ", ".join(repr(c) for c in classes[:5]) + (", …" if len(classes) > 5 else "")
        raise BadAnswer(
            f"the API answers {name!r}, which is none of the classes {known}: name them as it does (--classes)"
        )
    return labels


def coded(columns: Sequence[Sequence[Scalar]], spec: OracleSpec) -> Rows:
    """Turn raw JSON columns, in the order of the space, into checked coded rows.

    Raises
    ------
    SchemaError
        Text or a boolean in a column of numbers, a number too large, an unknown category, a missing value where
        omission is not accepted, or columns of different lengths.
    """
    space = spec.space
    if len(set(map(len, columns))) > 1:
        raise SchemaError(f"the columns have different lengths: {', '.join(str(len(c)) for c in columns[:8])}")
    coded_columns = []
    for feature, column in zip(space.features, columns, strict=True):
        if isinstance(feature, Categorical):
            part = FeatureSpace((feature,)).encode(pd.DataFrame({feature.name: np.array(column, dtype=object)}))[:, 0]
        else:
            wrong = set(map(type, column)) - {float, int, type(None)}
            if wrong:
                raise SchemaError(f"column {feature.name!r} takes numbers, not {_json_name(wrong.pop())}")
            part = numbers(column, SchemaError)
        coded_columns.append(part)
    return space.check(np.column_stack(coded_columns), omission=spec.omission)


def numbers(values: Sequence[Any], error: type[FilchError]) -> Floats:
    """A float64 vector of JSON numbers; null becomes NaN."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError as problem:
        raise error("a number in the body is too large for float64") from problem


def matrix(values: Sequence[Any], rows: int, columns: int, spec: OracleSpec) -> Rows:
    """Turn a flat vector of JSON numbers into checked coded rows of a space without categories."""
    return spec.space.check(numbers(values, SchemaError).reshape(rows, columns), omission=spec.omission)


def by_columns(space: FeatureSpace) -> bool:
    """Whether rows go over the wire as named columns; else as one matrix."""
    return space.named or bool(space.categorical.any())


def _json_name(kind: type) -> str:
    return {str: "text", bool: "a boolean"}.get(kind, kind.__name__)
