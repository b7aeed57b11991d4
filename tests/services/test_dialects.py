from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filch.core.answers import Answers, Reveal
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import OracleSpec
from filch.errors import BadAnswer, NotRevealed, SchemaError, UsageError
from filch.services.dialects import Question, by_name, names
from filch.services.dialects.base import assemble
from filch.services.dialects.kserve_v2 import KServeV2

BOX = FeatureSpace.box([0, 0], [1, 1])
TABLE = FeatureSpace(
    (
        Numeric("age", 18, 90, integer=True),
        Numeric("income", -1, 1),
        Categorical("colour", ("red", "grün", "__blue__")),
        Categorical("floor", (1, 2, 7)),
        Categorical("owner", (False, True)),
        Categorical("rate", (0.5, 1.5)),
        Categorical("job", ("yes", None)),
    )
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVERY_DIALECT = pytest.mark.parametrize("name", names())


def numbers(n: int, d: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(FLOATS, min_size=n * d, max_size=n * d).map(lambda values: np.array(values).reshape(n, d))


@st.composite
def table_rows(draw: st.DrawFn) -> np.ndarray:
    n = draw(st.integers(1, 4))
    columns = [
        draw(st.lists(FLOATS if not k else st.integers(0, int(k) - 1), min_size=n, max_size=n)) for k in TABLE.sizes
    ]
    return np.array(columns, dtype=float).T


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((a.view("u8") == b.view("u8")).all())


@EVERY_DIALECT
@given(rows=st.integers(1, 4).flatmap(lambda n: numbers(n, 2)))
def test_a_matrix_survives_to_the_bit(name: str, rows: np.ndarray) -> None:
    dialect, spec = by_name(name), OracleSpec(BOX, (0, 1))
    assert same_bits(dialect.decode_rows(dialect.encode_rows(rows, spec), spec).rows, rows)


@EVERY_DIALECT
@given(rows=table_rows())
def test_raw_columns_survive(name: str, rows: np.ndarray) -> None:
    dialect, spec = by_name(name), OracleSpec(TABLE, ("good", "bad"), omission=True)
    read = dialect.decode_rows(dialect.encode_rows(rows, spec), spec).rows
    assert np.array_equal(read, rows)  # −0 and 0 are one integer


@EVERY_DIALECT
def test_omitted_features_survive_where_they_are_accepted(name: str) -> None:
    dialect, rows = by_name(name), np.array([[np.nan, 1.0], [0.5, np.nan]])
    accepting, strict = OracleSpec(BOX, (0, 1), omission=True), OracleSpec(BOX, (0, 1))
    body = dialect.encode_rows(rows, accepting)
    assert np.array_equal(dialect.decode_rows(body, accepting).rows, rows, equal_nan=True)
    with pytest.raises(SchemaError, match="does not accept omitted features"):
        dialect.decode_rows(body, strict)


@st.composite
def classified(draw: st.DrawFn) -> tuple[OracleSpec, Answers]:
    classes = draw(st.sampled_from([("a", "b"), (0, 1, 2), (False, True), (0.5, 1.5, 2.5)]))
    level = draw(st.sampled_from(["labels", "top-1", "top-2", "probabilities"]))
    n, c = draw(st.integers(1, 4)), len(classes)
    shares = draw(st.lists(st.floats(0, 1), min_size=n * c, max_size=n * c).map(np.array)).reshape(n, c)
    spec = OracleSpec(BOX, classes, Reveal(level))
    return spec, spec.reveal.apply(Answers(np.zeros((n, 2)), labels=shares.argmax(axis=1), probabilities=shares))


@EVERY_DIALECT
@given(case=classified())
def test_labels_and_probabilities_survive_to_the_bit(name: str, case: tuple[OracleSpec, Answers]) -> None:
    spec, answers = case
    dialect = by_name(name)
    body = dialect.encode_answers(answers, Question(answers.rows), "m", spec)
    read = dialect.decode_answers(body, answers.rows, spec)
    assert np.array_equal(read.labels, answers.labels)
    if answers.probabilities is None:
        assert read.probabilities is None
    else:
        assert np.array_equal(read.probabilities, answers.probabilities, equal_nan=True)


@EVERY_DIALECT
@given(values=st.lists(FLOATS, min_size=1, max_size=5).map(np.array))
def test_values_survive_to_the_bit(name: str, values: np.ndarray) -> None:
    dialect, spec = by_name(name), OracleSpec(BOX, None, Reveal("value"))
    answers = Answers(np.zeros((len(values), 2)), value=values)
    body = dialect.encode_answers(answers, Question(answers.rows), "m", spec)
    assert same_bits(dialect.decode_answers(body, answers.rows, spec).value, values)


@pytest.mark.parametrize("level", ["scores", "node"])
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_scores_and_nodes_survive_in_kserve(level: str, classes: tuple[str, ...]) -> None:
    spec = OracleSpec(BOX, classes, Reveal(level))
    width = 1 if len(classes) == 2 else 3
    answers = spec.reveal.apply(
        Answers(np.zeros((2, 2)), labels=np.array([1, 0]), scores=np.full((2, width), -0.1), node=np.array([7, 2**40]))
    )
    read = KServeV2().decode_answers(
        KServeV2().encode_answers(answers, Question(answers.rows), "m", spec), answers.rows, spec
    )
    assert read.arrays().keys() == answers.arrays().keys()
    assert all(np.array_equal(array, read.arrays()[key]) for key, array in answers.arrays().items())
    assert by_name("mlflow").needs(spec)


@pytest.mark.parametrize("reveal", [Reveal(), Reveal("probabilities", 3), Reveal("top-2"), Reveal("labels")])
def test_our_metadata_tells_every_public_fact(reveal: Reveal) -> None:
    spec = OracleSpec(TABLE, ("a", "b"), reveal, omission=True, max_batch=7)
    dialect, facts = KServeV2().learn(KServeV2().documents("m", spec)["/v2/models/m"])
    assert OracleSpec(facts.space, facts.classes, facts.reveal, facts.omission, facts.max_batch) == spec
    rows = TABLE.sample(3, np.random.default_rng(0))
    assert np.array_equal(dialect.decode_rows(dialect.encode_rows(rows, spec), spec).rows, rows)


def test_foreign_metadata_names_the_tensors() -> None:
    told = {
        "name": "m",
        "platform": "onnx",
        "inputs": [{"name": "float_input", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "predict_proba", "datatype": "FP32", "shape": [-1, 3]}],
    }
    dialect, facts = KServeV2().learn(json.dumps(told).encode())
    assert facts.classes == (0, 1, 2) and facts.space is None
    request = json.loads(dialect.encode_rows(np.array([[0.5, 1.0]]), OracleSpec(BOX, (0, 1, 2))))
    assert request["outputs"] == [{"name": "predict_proba"}]
    tensor = {"name": "float_input", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.0]}
    assert request["inputs"] == [tensor]


def test_foreign_metadata_with_an_input_a_column() -> None:
    told = {"name": "m", "inputs": [{"name": n, "datatype": "FP64"} for n in BOX.names]}
    dialect, _ = KServeV2().learn(json.dumps(told).encode())
    request = json.loads(dialect.encode_rows(np.array([[0.5, 1.0]]), OracleSpec(BOX, (0, 1))))
    assert [tensor["name"] for tensor in request["inputs"]] == ["x0", "x1"]
    assert request["parameters"] == {"content_type": "pd"}


def test_nested_data_and_columns_in_any_order_are_read() -> None:
    space = FeatureSpace.box([0, 0], [1, 1], names=["a", "b"])
    inputs = [
        {"name": "b", "shape": [2, 1], "datatype": "INT64", "data": [[3], [4]]},
        {"name": "a", "shape": [2], "datatype": "FP32", "data": [1.5, 2]},
    ]
    question = KServeV2().decode_rows(json.dumps({"inputs": inputs, "id": "7"}).encode(), OracleSpec(space, (0, 1)))
    assert question.rows.tolist() == [[1.5, 3.0], [2.0, 4.0]] and question.id == "7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [1, 3], "data": [1, 2, 3]}, r"rows must be n × 2"),
        ({"shape": [2, 2]}, "of shape .2, 2. holds 2 values"),
        ({"shape": []}, "must be .rows. or .rows, columns."),
        ({"shape": [-1, -2]}, "must be .rows. or .rows, columns."),
        ({"datatype": "BYTES", "data": ["1", "2"]}, "must be FP64, not BYTES"),
        ({"datatype": "FP65"}, "must be FP64, not FP65"),
        ({"data": ["1", "2"]}, "Expected `float | null`"),
        ({"data": [True, False]}, "Expected `float | null`"),
        ({"data": [1e999, 2]}, "not understood"),
        ({"data": [10**400, 2]}, "not understood"),
        ({"data": [None, 2]}, "does not accept omitted"),
    ],
)
def test_a_bad_matrix_is_named(change: dict[str, object], message: str) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0.5, 1.0], **change}
    body = json.dumps({"inputs": [tensor]}).replace("Infinity", "1e999").encode()
    with pytest.raises(SchemaError, match=message):
        KServeV2().decode_rows(body, OracleSpec(BOX, (0, 1)))


FRAME = FeatureSpace((Numeric("age", 0, 99), Categorical("colour", ("red", "blue"))))


@pytest.mark.parametrize(
    ("columns", "data", "message"),
    [
        (["age"], [[1]], "lacks column 'colour'"),
        (["age", "colour", "x"], [[1, "red", 2]], "has the unknown column 'x'"),
        (["age", "colour", "colour"], [[1, "red", "red"]], "twice"),
        (["age", "colour"], [[1, "green"]], "'green' is no category of column 'colour'"),
        (["age", "colour"], [[1, "red"], [1]], "a row has 1 columns"),
        (["age", "colour"], [["1", "red"]], "column 'age' takes numbers, not text"),
        (["age", "colour"], [[True, "red"]], "column 'age' takes numbers, not a boolean"),
        (["age", "colour"], [[10**400, "red"]], "too large|not understood"),
        (["age", "colour"], [[None, "red"]], "NaN in column 'age'"),
        (["age", "colour"], [[1, None]], "NaN in column 'colour'"),
        (["age", "colour"], [], "no rows"),
    ],
)
def test_a_bad_split_is_named(columns: list[str], data: list[object], message: str) -> None:
    body = json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode()
    with pytest.raises(SchemaError, match=message):
        by_name("mlflow").decode_rows(body, OracleSpec(FRAME, (0, 1)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([("age", "FP64", [1])], "lacks input 'colour'"),
        ([("age", "FP64", [1]), ("age", "FP64", [1])], "twice"),
        ([("age", "FP64", [1]), ("colour", "BYTES", ["red"]), ("x", "FP64", [1])], "unknown input 'x'"),
        ([("age", "FP64", [1]), ("colour", "FP64", [1])], "'colour' must be BYTES, not FP64"),
        ([("age", "BYTES", ["1"]), ("colour", "BYTES", ["red"])], "'age' must be .*, not BYTES"),
        ([("age", "FP64", [1]), ("colour", "BYTES", ["green"])], "'green' is no category"),
        ([("age", "FP64", [1, 2]), ("colour", "BYTES", ["red"])], "different lengths"),
    ],
)
def test_a_bad_column_is_named(inputs: list[tuple[str, str, list[object]]], message: str) -> None:
    tensors = [{"name": n, "datatype": kind, "shape": [len(data)], "data": data} for n, kind, data in inputs]
    with pytest.raises(SchemaError, match=message):
        KServeV2().decode_rows(json.dumps({"inputs": tensors}).encode(), OracleSpec(FRAME, (0, 1)))


def test_an_output_that_is_not_revealed_is_refused() -> None:
    body = KServeV2().encode_rows(np.zeros((1, 2)), OracleSpec(BOX, (0, 1)))
    with pytest.raises(NotRevealed, match="no output 'predict_proba': this model answers predict"):
        KServeV2().decode_rows(body, OracleSpec(BOX, (0, 1), Reveal("labels")))


@pytest.mark.parametrize(
    ("spec", "predictions", "message"),
    [
        (OracleSpec(BOX, ("a", "b")), ["a", "b"], "pyfunc_predict_fn='predict_proba'"),
        (OracleSpec(BOX, (0, 1)), [0, 1], "pyfunc_predict_fn='predict_proba'"),
        (OracleSpec(BOX, (0, 1, 2)), [[0.5, 0.5], [1, 0]], "2 probabilities a row, but 3 classes"),
        (OracleSpec(BOX, (0, 1)), [[0.5, 0.5]], "2 rows were asked, but 1"),
        (OracleSpec(BOX, (0, 1)), [[0.5, 0.5], [3, -2]], "no probabilities"),
        (OracleSpec(BOX, (0, 1)), [[0.5, None], [1, 0]], "a probability is missing"),
        (OracleSpec(BOX, (0, 1), Reveal("top-1")), [[None, None], [1, None]], "without any probability"),
        (
            OracleSpec(BOX, ("a", "b"), Reveal("labels")),
            ["a", "c"],
            "answers 'c', which is none of the classes 'a', 'b'",
        ),
        (OracleSpec(BOX, ("a", "b"), Reveal("labels")), ["a", 1], "which is none of the classes"),
        (OracleSpec(BOX, ("a", "b"), Reveal("labels")), [[0.5, 0.5], [1, 0]], "several numbers a row"),
        (OracleSpec(BOX, None, Reveal("value")), ["a", "b"], "no numbers"),
        (OracleSpec(BOX, None, Reveal("value")), [1, 10**400], "too large|not understood"),
        (OracleSpec(BOX, None, Reveal("value")), [], "no numbers|2 rows"),
    ],
)
def test_an_answer_that_cannot_be_true_is_named(spec: OracleSpec, predictions: list[object], message: str) -> None:
    with pytest.raises(BadAnswer, match=message):
        by_name("mlflow").decode_answers(json.dumps({"predictions": predictions}).encode(), np.zeros((2, 2)), spec)


def test_a_web_page_is_called_so() -> None:
    for name in names():
        with pytest.raises(BadAnswer, match="is a web page"):
            by_name(name).decode_answers(b"\n<!doctype html>", np.zeros((1, 2)), OracleSpec(BOX, (0, 1)))


def test_what_no_tensor_can_hold_is_said_before_anything_is_sent() -> None:
    mixed = FeatureSpace((Categorical("x", ("a", 1)),))
    assert "mixes" in (KServeV2().needs(OracleSpec(mixed, (0, 1))) or "")
    assert "mix" in (KServeV2().needs(OracleSpec(BOX, ("a", 1))) or "")
    with pytest.raises(UsageError, match="'floor' has no way to say"):
        KServeV2().encode_rows(np.array([[20.0, 0, 0, -1, 0, 0, 0]]), OracleSpec(TABLE, (0, 1)))


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m", "/v2/models/m/", "/v2/models/m/infer/"])
def test_a_model_s_address_is_completed(path: str) -> None:
    assert KServeV2().endpoint(path) == "/v2/models/m/infer"
    assert KServeV2().endpoint("/up/v2/models/m/versions/3") == "/up/v2/models/m/versions/3/infer"
    assert by_name("mlflow").endpoint("/") == by_name("mlflow").endpoint("/invocations") == "/invocations"


def test_an_address_without_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="names no model: give http://HOST/v2/models/NAME/infer"):
        KServeV2().endpoint("/v2")
    with pytest.raises(UsageError, match="no dialect 'soap': choose kserve-v2 or mlflow"):
        by_name("soap")


# ── fuzzing: whatever arrives, only the promised errors come out ────────────────────────────────────────────────

TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["predict", "predict_proba", "decision_function", "apply", "input-0", "age", "x"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3) | st.lists(st.integers(), max_size=2),
        "datatype": st.sampled_from(["FP64", "INT64", "UINT8", "BOOL", "BYTES", "FP8"]),
        "data": st.lists(SCALARS, max_size=6) | st.lists(st.lists(SCALARS, max_size=3), max_size=3) | JSON,
    }
)
BODIES = (
    st.binary(max_size=60)
    | JSON.map(msgspec.json.encode)
    | st.fixed_dictionaries({"inputs": st.lists(TENSORS, max_size=3)}).map(msgspec.json.encode)
    | st.fixed_dictionaries({"outputs": st.lists(TENSORS, max_size=3)}).map(msgspec.json.encode)
    | st.fixed_dictionaries({"predictions": st.lists(st.lists(SCALARS, max_size=3) | SCALARS, max_size=3)}).map(
        msgspec.json.encode
    )
    | st.fixed_dictionaries({"inputs": st.lists(st.lists(SCALARS, max_size=3), max_size=3)}).map(msgspec.json.encode)
    | st.fixed_dictionaries(
        {
            "dataframe_split": st.fixed_dictionaries(
                {
                    "columns": st.just(list(FRAME.names)) | st.lists(st.text(max_size=3), max_size=3),
                    "data": st.lists(st.lists(SCALARS, max_size=3), max_size=3),
                }
            )
        }
    ).map(msgspec.json.encode)
    | st.fixed_dictionaries({"name": st.text(), "parameters": st.fixed_dictionaries({"filch": st.text() | JSON})}).map(
        msgspec.json.encode
    )
    | st.integers(1, 3000).map(lambda depth: b"[" * depth)
)
SPECS = st.sampled_from(
    [
        OracleSpec(space, classes, Reveal(level), omission)
        for space in (BOX, FRAME)
        for classes, level in [
            ((0, 1), "probabilities"),
            (("a", "b"), "top-1"),
            ((False, True), "labels"),
            (None, "value"),
            ((0, 1), "scores"),
            ((0, 1), "node"),
        ]
        for omission in (False, True)
    ]
)


@EVERY_DIALECT
@given(body=BODIES, spec=SPECS, n=st.integers(1, 3))
def test_any_bytes_are_answers_or_a_bad_answer(name: str, body: bytes, spec: OracleSpec, n: int) -> None:
    try:
        answers = by_name(name).decode_answers(body, np.zeros((n, 2)), spec)
    except BadAnswer as error:
        assert "\n" not in str(error)
    else:
        assert len(answers) == n


@EVERY_DIALECT
@given(body=BODIES, spec=SPECS)
def test_any_bytes_are_rows_or_a_usage_error(name: str, body: bytes, spec: OracleSpec) -> None:
    try:
        question = by_name(name).decode_rows(body, spec)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert question.rows.shape[1] == 2 and len(question.rows) > 0


@given(body=BODIES)
def test_any_bytes_are_metadata_or_a_bad_answer(body: bytes) -> None:
    try:
        dialect, facts = KServeV2().learn(body)
    except BadAnswer as error:
        assert "\n" not in str(error)
    else:
        assert dialect.name == "kserve-v2" and facts.max_batch is None


def test_logarithms_of_probabilities_are_taken_as_such() -> None:
    spec, rows = OracleSpec(BOX, ("a", "b", "c")), np.zeros((2, len(BOX)))
    shown = np.array([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    answers = assemble(rows, spec, probabilities=np.log(shown))
    assert answers.probabilities is not None and answers.labels is not None
    np.testing.assert_allclose(answers.probabilities, shown, rtol=1e-15)
    assert answers.labels.tolist() == [2, 0]
    assert assemble(rows, spec, probabilities=shown).probabilities is shown
    for wrong in (np.log(shown) - 0.5, -shown, np.log(shown) + 0.1):
        with pytest.raises(BadAnswer, match="no probabilities"):
            assemble(rows, spec, probabilities=wrong)
