from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filch import Categorical, FeatureSpace, Numeric
from filch.core.columns import UNKNOWN_TEXT
from filch.errors import SchemaError

from .strategies import rows, seeds, spaces

PEOPLE = pd.DataFrame({"age": [30, 41, 55], "income": [1.5, 2.0, 8.25], "sex": ["f", "m", "f"], "member": [True] * 3})


# ── properties ──────────────────────────────────────────────────────────────────────────────────────────────


@given(spaces(missing=False), seeds)
def test_encode_undoes_decode(space: FeatureSpace, seed: int) -> None:
    coded = rows(space, seed, gaps=True)
    np.testing.assert_array_equal(space.encode(space.decode(coded)), coded)


@given(spaces(), seeds)
def test_decode_of_complete_rows_round_trips_with_missing_as_a_category(space: FeatureSpace, seed: int) -> None:
    coded = rows(space, seed)
    np.testing.assert_array_equal(space.encode(space.decode(coded)), coded)


@given(spaces(missing=False), seeds)
def test_unknown_codes_come_back(space: FeatureSpace, seed: int) -> None:
    coded = rows(space, seed)
    coded[::2, space.categorical] = -1
    np.testing.assert_array_equal(space.encode(space.decode(coded), unknown="code"), coded)


@given(spaces())
def test_json_round_trip(space: FeatureSpace) -> None:
    again = FeatureSpace.from_json(space.to_json())
    assert again == space
    assert [type(c) for f in again.features for c in getattr(f, "categories", ())] == [
        type(c) for f in space.features for c in getattr(f, "categories", ())
    ]


@given(st.binary(max_size=200) | st.text(st.characters(), max_size=200))
def test_arbitrary_text_is_a_schema_or_a_schema_error(text: bytes | str) -> None:
    with pytest.raises(SchemaError):
        FeatureSpace.from_json(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["numeric", "categorical", "a", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "name", "low", "high", "step", "integer", "categories"]), inner, max_size=6
        )
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=3), _JSON)
def test_arbitrary_json_is_a_working_schema_or_a_schema_error(features: list[object], named: object) -> None:
    text = json.dumps({"features": features, "named": named})
    try:
        space = FeatureSpace.from_json(text)
    except SchemaError:
        return
    coded = space.sample(3, np.random.default_rng(0))
    assert ((coded >= space.low) & (coded <= space.high)).all()
    assert FeatureSpace.from_json(space.to_json()) == space


def test_a_range_from_zero_to_minus_zero():
    assert FeatureSpace.box([0.0], [-0.0]).sample(3, np.random.default_rng(0)).tolist() == [[0.0]] * 3


@given(spaces(), seeds)
def test_samples_lie_in_the_ranges_and_on_the_grid(space: FeatureSpace, seed: int) -> None:
    drawn = rows(space, seed, 50)
    assert ((drawn >= space.low) & (drawn <= space.high)).all()
    discrete = space.grid > 0
    places = (drawn - space.low)[:, discrete] / space.grid[discrete]
    np.testing.assert_allclose(places, np.round(places), atol=1e-3)
    np.testing.assert_array_equal(space.snap(drawn), drawn)


@given(spaces(), seeds, st.floats(0, 1e3))
def test_snap_is_idempotent_and_stays_inside(space: FeatureSpace, seed: int, spread: float) -> None:
    wild = np.random.default_rng(seed).normal(space.low, 1 + spread, size=(20, len(space)))
    wild[0] = math.nan
    snapped = space.snap(wild)
    np.testing.assert_array_equal(space.snap(snapped), snapped)
    assert np.isnan(snapped[0]).all()
    assert ((snapped[1:] >= space.low) & (snapped[1:] <= space.high)).all()


def test_the_last_step_does_not_overshoot() -> None:
    space = FeatureSpace((Numeric("x", 0.0, 0.3, step=0.1),))  # 3 × 0.1 > 0.3 in float64
    assert set(space.sample(200, np.random.default_rng(0)).ravel()) == {0.0, 0.1, 0.2, 0.3}
    assert space.snap(np.array([[0.29]])).item() == 0.3


def test_samples_are_uniform_over_categories_and_integers() -> None:
    space = FeatureSpace((Categorical("c", ("a", "b", "c")), Numeric("i", 1, 4, integer=True)))
    drawn = space.sample(12_000, np.random.default_rng(1))
    assert np.abs(np.bincount(drawn[:, 0].astype(int)) / 12_000 - 1 / 3).max() < 0.02
    assert np.abs(np.bincount(drawn[:, 1].astype(int))[1:] / 12_000 - 1 / 4).max() < 0.02


# ── from_frame ──────────────────────────────────────────────────────────────────────────────────────────────


def test_from_frame_reads_kinds_off_dtypes() -> None:
    assert FeatureSpace.from_frame(PEOPLE).features == (
        Numeric("age", 30, 55, integer=True),
        Numeric("income", 1.5, 8.25),
        Categorical("sex", ("f", "m")),
        Categorical("member", (True,)),
    )


def test_frames_round_trip_with_their_values() -> None:
    space = FeatureSpace.from_frame(PEOPLE)
    back = space.decode(space.encode(PEOPLE))
    assert back.to_dict("list") == PEOPLE.to_dict("list")
    assert back["member"].dtype == bool
    assert back["age"].dtype == np.int64


@pytest.mark.parametrize(
    "column",
    [
        pd.array([1, 2, 4], dtype="Int64"),
        pd.array([0.5, 2, 4], dtype="Float64"),
        pd.array([True, False, True], dtype="boolean"),
        pd.array(["x", "y", "x"], dtype="string"),
        pd.Categorical(["x", "y", "x"]),
        pd.Categorical([3, 1, 3]),
        np.array([1, 2, 3], dtype=np.uint8),
        np.array([1, "1", True], dtype=object)[[0, 1, 0]],
    ],
    ids=lambda column: str(column.dtype),
)
def test_dtypes_of_every_sort_round_trip(column: object) -> None:
    frame = pd.DataFrame({"x": column})
    space = FeatureSpace.from_frame(frame)
    coded = space.encode(frame)
    assert not np.isnan(coded).any()
    assert space.decode(coded)["x"].tolist() == frame["x"].tolist()


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "string", "object", "category"])
def test_missing_values_of_nullable_dtypes_are_nan(dtype: str) -> None:
    raw = {"boolean": [True, False, None], "Int64": [1, 2, None], "Float64": [1.5, 2, None]}.get(
        dtype, ["a", "b", None]
    )
    frame = pd.DataFrame({"x": pd.Series(raw, dtype=dtype)})
    with pytest.raises(SchemaError, match="missing values"):
        FeatureSpace.from_frame(frame)
    coded = FeatureSpace.from_frame(frame, missing="omit").encode(frame)
    assert np.isnan(coded[:, 0]).tolist() == [False, False, True]


def test_missing_as_a_category() -> None:
    frame = pd.DataFrame({"x": ["b", None, "a"]})
    space = FeatureSpace.from_frame(frame, missing="category")
    assert space.features[0] == Categorical("x", ("a", "b", None))
    assert space.encode(frame).ravel().tolist() == [1, 2, 0]
    assert space.decode([[2.0]])["x"].isna().all()


def test_columns_named_by_numbers_are_found() -> None:
    frame = pd.DataFrame(np.eye(2))
    assert FeatureSpace.from_frame(frame).encode(frame).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"x": []}), "no rows"),
        (pd.DataFrame({"x": [None, None]}), "no values"),
        (pd.DataFrame({"x": [1.0, math.inf]}), "infinity"),
        (pd.DataFrame({"x": [1.0, math.nan]}), "missing values"),
        (pd.DataFrame({"x": pd.to_datetime(["2020-01-01"])}), "Timestamp values: turn them into"),
        (pd.DataFrame({"x": pd.to_timedelta([1])}), "Timedelta values"),
        (pd.DataFrame({"x": [1j]}), "complex values"),
        (pd.DataFrame({"x": [[1], [2]]}), "no categories"),
        (pd.DataFrame({"x": [1.0, math.inf, "a"]}, dtype=object), "missing value is None"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "must be unique"),
        (pd.DataFrame(index=[0, 1]), "at least one feature"),
    ],
)
def test_frames_that_make_no_space(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        FeatureSpace.from_frame(frame)


# ── what cannot be right ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (Numeric("x", 2, 1), "low ≤ high"),
        (Numeric("x", math.nan, 1), "low ≤ high"),
        (Numeric("x", -1e308, 1e308), "low ≤ high"),
        (Numeric("x", 0, 1, step=0.0), "step above 0"),
        (Numeric("x", 0, 1, step=-1.0), "step above 0"),
        (Numeric("x", 0, 1, step=math.nan), "step above 0"),
        (Numeric("x", 0, 1, step=math.inf), "step above 0"),
        (Numeric("x", 0, 1, step=5e-324), "too fine"),
        (Numeric("x", 0.5, 3, integer=True), "must be whole"),
        (Numeric("x", 0, 3, step=0.5, integer=True), "must be whole"),
        (Categorical("x", ()), "no categories"),
        (Categorical("x", ("a", "a")), "twice"),
        (Categorical("x", (1, True)), "twice"),
        (Categorical("x", (1, 1.0)), "twice"),
        (Categorical("x", (math.nan, "a")), "missing value is None"),
        (Categorical("x", (2**63,)), "64 bits"),
        (Categorical("x", (b"a",)), "bytes values"),  # type: ignore[arg-type]
    ],
)
def test_features_that_cannot_be(feature: Numeric | Categorical, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        FeatureSpace((feature,))


def test_a_range_of_one_point_is_a_feature() -> None:
    space = FeatureSpace((Numeric("x", 3, 3), Numeric("i", 3, 3, integer=True), Categorical("c", ("only",))))
    assert space.sample(2, np.random.default_rng(0)).tolist() == [[3, 3, 0]] * 2


@pytest.mark.parametrize(
    ("low", "high"),
    [([0, 0], [1, 1, 1]), ([0, 1], [1]), ([[0]], [[1]]), (["a"], [1]), ([], []), ([2], [1]), ([math.nan], [1])],
)
def test_boxes_that_cannot_be(low: list[object], high: list[object]) -> None:
    with pytest.raises(SchemaError):
        FeatureSpace.box(low, high)


def test_box_names() -> None:
    assert FeatureSpace.box(0, [1, 2]).names == ("x0", "x1")
    assert FeatureSpace.box([0], [1], names=["a"]).named
    with pytest.raises(SchemaError, match="1 ranges, but 2 names"):
        FeatureSpace.box([0], [1], names=["a", "b"])


@pytest.mark.parametrize(
    ("coded", "message"),
    [
        ([1.0, 0.0], "rows must be n × 2"),
        ([[1.0]], "got 1 × 1"),
        ([[math.inf, 0]], "infinity in column 'x'"),
        ([[math.nan, 0]], "does not accept omitted"),
        ([[0.0, 2]], "2 is no category code of column 'c'"),
        ([[0.0, 0.5]], "0.5 is no category code"),
        ([[0.0, -2]], "-2 is no category code"),
        ([["a", 0]], "encode raw columns first"),
        ([[None, {}]], "encode raw columns first"),
    ],
)
def test_coded_rows_that_are_none(coded: object, message: str) -> None:
    space = FeatureSpace((Numeric("x", 0, 1), Categorical("c", ("a", "b"))))
    with pytest.raises(SchemaError, match=message):
        space.check(coded)  # type: ignore[arg-type]


def test_check_lets_numbers_leave_their_range_and_never_shares_memory_that_can_change() -> None:
    space = FeatureSpace.box([0, 0], [1, 1])
    own = np.array([[5.0, -5.0], [0.0, 1.0]])
    for given_rows in (own, own[:1], pd.DataFrame(own)):
        checked = space.check(given_rows)
        assert not checked.flags.writeable
        assert not np.shares_memory(checked, own)
    assert own.flags.writeable
    assert space.check(checked) is checked
    assert space.check([[math.nan, 0]], omission=True).shape == (1, 2)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pd.DataFrame({"x": [1.0]}), "no column 'c'"),
        (pd.DataFrame({"x": ["tall"], "c": ["a"]}), "'x' takes numbers"),
        (pd.DataFrame({"x": ["nan"], "c": ["a"]}), "says NaN"),
        (pd.DataFrame({"x": [math.inf], "c": ["a"]}), "infinity"),
        (pd.DataFrame({"x": [1.0], "c": ["z"]}), "'z' is no category of column 'c'"),
        (pd.DataFrame({"x": [1.0], "c": [["a"]]}), "'c' takes categories"),
        ([[1.0]], "must have 2 columns"),
        ([[1.0, 1]], "1 is no category"),
    ],
)
def test_raw_rows_that_do_not_fit(raw: object, message: str) -> None:
    space = FeatureSpace((Numeric("x", 0, 1), Categorical("c", ("a", "b"))))
    with pytest.raises(SchemaError, match=message):
        space.encode(raw)  # type: ignore[arg-type]


def test_an_empty_table_has_no_rows() -> None:
    space = FeatureSpace((Numeric("x", 0, 1), Categorical("c", ("a",))))
    assert space.encode(pd.DataFrame({"x": [], "c": []})).shape == (0, 2)
    assert list(space.decode(np.empty((0, 2))).columns) == ["x", "c"]


def test_unknown_values_have_a_code_and_a_text() -> None:
    space = FeatureSpace((Categorical("c", ("a", "b")),))
    assert space.encode([["z"], ["b"]], unknown="code").ravel().tolist() == [-1, 1]
    assert space.decode([[-1.0]])["c"].tolist() == [UNKNOWN_TEXT]


def test_integers_that_came_as_floats_are_the_same_category() -> None:
    space = FeatureSpace((Categorical("c", (1, 2)),))
    assert space.encode(pd.DataFrame({"c": [2.0, 1.0]})).ravel().tolist() == [1, 0]


@pytest.mark.parametrize("value", [1e200, -1.7e308, 5e-324])
def test_numbers_whose_squares_overflow_are_finite(value: float) -> None:
    coded = np.full((3, 2), value)
    assert (FeatureSpace.box([0, 0], [1, 1]).check(coded) == value).all()
    assert np.isnan(FeatureSpace.box([0, 0], [1, 1]).check([[math.nan, value]], omission=True)).sum() == 1


def test_texts_have_one_type_whatever_a_batch_holds() -> None:
    space = FeatureSpace((Categorical("c", ("a", "b")), Numeric("n", 0, 1)))
    kind = pd.DataFrame({"c": ["a", "b"]}).dtypes["c"]
    for codes in ([0, 1], [0, math.nan], [-1, 1], [math.nan, math.nan]):
        frame = space.decode([[code, 0.5] for code in codes])
        assert frame.dtypes["c"] == kind
        assert frame["c"].isna().tolist() == [math.isnan(code) for code in codes]


def test_decoded_columns_are_the_caller_s_own() -> None:
    space = FeatureSpace((Numeric("a", 0, 1), Numeric("b", 0, 1), Categorical("c", ("x", "y"))))
    coded = space.check(np.array([[0.25, 0.5, 1.0]]))
    frame = space.decode(coded)
    frame.loc[0, "a"] = 7.0
    frame.loc[0, "c"] = "x"
    assert coded.tolist() == [[0.25, 0.5, 1.0]]
    assert space.decode(coded).to_numpy().tolist() == [[0.25, 0.5, "y"]]
