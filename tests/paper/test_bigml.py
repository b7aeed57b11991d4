"""The case study of BigML on its smaller tree: what the module computes, through BigML's own client."""

import pytest

from filch.errors import UsageError
from filch.paper import bigml, studies


def test_the_lines_of_one_tree(data_folder):
    pytest.importorskip("bigml.api", reason="needs BigML's client: pip install 'filch[bigml]'")
    table = bigml.run(seeds=[0], datasets=["german-credit"], settings=["top-down"])
    ours, theirs, printed = table.rows
    assert [row.method for row in table.rows] == ["filch", "paper's method", "paper, printed"]
    assert (ours.r_test.worst, ours.r_unif.worst, ours.extra["leaves"].worst, ours.note) == (0, 0, 26, "verified")
    assert ours.queries.worst < 0.35 * theirs.queries.worst
    paid = ours.queries.worst + ours.selection
    assert ours.extra["$ at 0.10"].worst == pytest.approx(paid * 0.0001)
    assert ours.extra["$ at 5"].worst == pytest.approx(paid * 0.005)
    assert ours.extra["s at 0.5"].worst == paid / 2
    assert (printed.queries.worst, printed.extra["s at 0.5"].worst) == (1_150, 631)


def test_misuse():
    with pytest.raises(UsageError, match="no tree 'gss' here"):
        bigml.run(datasets=["gss"])
    with pytest.raises(UsageError, match="no setting 'x' here"):
        bigml.run(datasets=["steak"], settings=["x"])
    assert studies()["bigml"].datasets == bigml.DATASETS
