"""Faces: copied, inverted, and told apart; on made-up pictures of 12 × 10 pixels."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from filch.core.features import FeatureSpace
from filch.errors import DataError, UsageError
from filch.paper import Table, studies
from filch.paper.faces import DEARER, EQUAL, Faces, compare

SHAPE, PEOPLE, EACH = (12, 10), 6, 10


def made_up(seed: int = 0) -> Faces:
    """A smooth pattern for each person, and noise on each picture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:12j, 0:1:10j]
    waves = np.array([np.cos(np.pi * (i * y + j * x)) for i in range(3) for j in range(3)]).reshape(9, -1)
    means = rng.normal(size=(PEOPLE, 9)) @ waves
    means *= 0.7 / np.abs(means).max(axis=1, keepdims=True)

    def pictures(count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        person = np.repeat(np.arange(PEOPLE), count)
        return np.clip(means[person] + 0.1 * rng.normal(size=(len(person), 120)), -1, 1), person

    (train, y_train), (test, y_test) = pictures(7), pictures(3)
    return Faces(train, test, y_train, y_test, SHAPE)


@pytest.fixture(scope="module")
def table() -> Table:
    return compare(made_up(), seeds=(0,))


def test_every_person_is_found_in_the_copy(table: Table) -> None:
    ours, paper, equal, dear = table.rows
    assert (ours.method, ours.note, ours.queries.worst, ours.selection) == ("filch", "verified", 121, 8)
    assert ours.unknowns == 6 * 121
    assert ours.r_test is not None and ours.r_test.worst == 0.0
    assert ours.r_tv_unif is not None and ours.r_tv_unif.worst < 1e-9
    assert ours.extra["found"].worst == 1.0
    assert paper.queries.median == 121  # as many as ours: α = 1/6
    assert paper.r_tv_unif is not None and paper.r_tv_unif.median > 1e-6
    assert (equal.method, dear.method) == (EQUAL, DEARER)
    assert equal.queries.worst <= 121
    assert dear.queries.worst == 6 * (2 * 120 + 17)
    assert dear.extra["found"].worst == 1.0


def test_memory_and_time_are_measured(table: Table) -> None:
    for row in table.rows[:2]:
        assert 0.01 < row.extra["GiB"].worst < 4
        assert row.seconds is not None and 0 < row.seconds.median < 30


def test_the_page_shows_each_kind_of_picture(table: Table) -> None:
    assert table.gallery is not None
    page = table.gallery.html()
    assert page.count("<img") == PEOPLE * 6 + PEOPLE * 3
    for name in ("person 5", "the target", "the copy", "the paper", "black box, equal queries", "6 of 6"):
        assert name in page
    json.loads(table.as_json())


def test_the_nearest_person() -> None:
    faces = made_up()
    everyone = np.arange(PEOPLE)
    assert faces.found(faces.means, everyone) == 1.0
    assert faces.found(faces.means[::-1], everyone) == 0.0
    dim = 0.1 * faces.means - 0.8
    assert faces.found(dim, everyone) < 1.0
    assert faces.found(dim, everyone, correlated=True) == 1.0
    assert faces.found(faces.means[[0, 2, 2]], everyone[:3]) == pytest.approx(2 / 3)
    assert isinstance(faces.space, FeatureSpace)


def test_other_data() -> None:
    with pytest.raises(UsageError, match="'faces' alone, not on 'iris'"):
        studies()["faces"](datasets=["iris"])


def test_without_the_faces(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("FILCH_DATA", str(tmp_path))
    from filch.paper.faces import att

    att.cache_clear()
    with pytest.raises(DataError, match="set FILCH_DATA"):
        studies()["faces"]()
