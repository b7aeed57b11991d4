"""Improper extraction: general learners with many queries against the target's own class with few."""

import pytest

from filch.errors import UsageError
from filch.paper import Spread, appendix_d, studies
from filch.paper.targets import target


def test_the_right_class_is_exact_and_the_others_are_not() -> None:
    table = appendix_d.run(seeds=(0,), datasets=["iris"], hidden=30, epochs=60)
    rows = {row.method: row for row in table.rows}
    assert list(rows) == ["filch", "paper's method", "gradient boosting", "retraining"]
    assert rows["filch"].queries.worst == 5
    assert rows["filch"].r_unif == Spread(0.0, 0.0)
    for method in list(rows)[1:]:
        assert rows[method].queries.worst == 150  # ten for each of c(d + 1) unknowns
        assert rows[method].r_tv_unif is not None and rows[method].r_tv_unif.median > 1e-3


def test_what_the_paper_prints() -> None:
    row = appendix_d._printed(target("iris", "softmax"))
    assert (row.queries.median, row.r_test, row.r_tv_unif) == (5_300, Spread(0.005, 0.005), Spread(0.01, 0.01))


def test_it_runs_on_the_papers_target_unless_told_otherwise() -> None:
    assert studies()["appendix-d"].datasets == ("adult-race",)
    with pytest.raises(UsageError, match="no data set 'circles' here"):
        appendix_d.run(datasets=["circles"])
