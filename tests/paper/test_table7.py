"""The case study of Amazon ML on its smallest model, through boto3."""

import pytest

from filch.errors import UsageError
from filch.paper import studies, table7


def test_the_lines_of_circles(data_folder):
    pytest.importorskip("boto3", reason="needs Amazon's client: pip install 'filch[amazon]'")
    table = table7.run(seeds=[0], datasets=["circles"])
    ours, theirs, printed = table.rows
    assert [row.method for row in table.rows] == ["filch", "paper's method", "paper, printed"]
    for row in (ours, theirs):
        assert (row.r_test.worst, row.r_unif.worst, row.note) == (0, 0, "verified")
        assert row.r_tv_unif.worst < 1e-9 and row.n_uniform > 8_000
    assert abs(theirs.queries.worst / printed.queries.worst - 1) < 0.1
    assert ours.extra["places"].worst <= ours.queries.worst <= theirs.queries.worst / 2
    assert ours.extra["$"].worst == pytest.approx((ours.queries.worst + ours.selection) * 1e-4)
    (section,) = table.gallery.sections
    assert [chart.count("<circle") for chart in section.charts] == [1 + 22] * 2  # one of them in the legend
    assert all(float(row[3]) <= 1e-3 for row in section.table[1:])


def test_misuse():
    with pytest.raises(UsageError, match="no data set 'gss' here"):
        table7.run(datasets=["gss"])
    assert studies()["table7"].datasets == table7.DATASETS
