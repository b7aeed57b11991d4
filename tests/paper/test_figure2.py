"""Figure 2: training rows come out to float precision, the paper's method beside them, pictures of both."""

from __future__ import annotations

import numpy as np
import pytest

from filch.errors import UsageError
from filch.paper import figure2, studies
from filch.paper.kernel_target import KernelLogisticRegression, kernel_target


def test_twenty_representers(tmp_path) -> None:
    told: list[str] = []

    def note(step: str, done: int = 0, of: int = 0) -> None:
        told.append(step)

    table = figure2.run(seeds=[0], datasets=["digits-20"], results=tmp_path, progress=note, steps=20)
    again = figure2.run(seeds=[0], datasets=["digits-20"], results=tmp_path, progress=note, steps=20)
    assert again.rows == table.rows and sum(step.endswith("(kept)") for step in told) == 4
    assert [row.method for row in table.rows] == [
        "filch",
        "paper's method",
        "paper, printed",
        "filch",
        "paper's method",
    ]
    for row in (table.rows[0], table.rows[3]):
        assert row.queries.worst <= 600 and row.note.startswith("verified")
        assert row.extra["worst pixel"].worst <= 1e-6
        assert row.r_test is not None and row.r_test.worst == 0.0
    assert table.rows[1].queries.worst == 5_000 and table.rows[1].extra["worst pixel"].worst > 1e-6
    assert len(told) == 8 and studies()["figure2"].pictures
    assert table.gallery is not None
    for section in table.gallery.sections:
        (_, truth), (caption, ours), *_ = section.images
        assert section.group == 3 and len(section.images) == 3 * 20 and caption.startswith("filch: rms")
        assert truth.shape == (8, 8) and np.allclose(ours, truth, rtol=0, atol=1e-6)


def test_targets_of_one_seed_are_the_same_and_of_two_are_not() -> None:
    one, other = (kernel_target("iris", 5, 0.5, seed) for seed in (0, 1))
    assert np.array_equal(one.model.fit(one.study.X_train, one.study.y_train).representers_, one.model.representers_)
    assert not np.array_equal(one.model.representers_, other.model.representers_)
    assert one.unknowns == 5 * 4 + 3 * 6
    everything = kernel_target("iris", None, 0.5).model
    assert np.array_equal(everything.representers_, one.study.X_train)
    assert (everything.predict(one.X_test) == one.study.y_test).mean() > 0.9


def test_bad_settings() -> None:
    with pytest.raises(UsageError, match="digits-20"):
        figure2.run(datasets=["faces"])
    with pytest.raises(UsageError, match="gamma > 0"):
        KernelLogisticRegression(3, 0.0)
