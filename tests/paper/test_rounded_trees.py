import pytest

from filch.errors import UsageError
from filch.paper import rounded_trees


def test_a_small_tree_is_copied_at_two_decimals_and_by_labels_alone():
    rows = rounded_trees.run(seeds=[0], datasets=["german-credit"], decimals=[2]).rows
    assert [(row.inputs, row.method) for row in rows] == [
        ("2 decimals", "filch"),
        ("2 decimals", "paper's method"),
        ("labels", "filch"),
        ("labels", "paper's method"),
    ]
    assert rows[0].r_unif.worst == 0.0 and rows[2].r_unif.worst < 0.01
    assert rows[2].note == "approximate" and rows[3].r_unif.worst > rows[2].r_unif.worst


def test_rounding_does_not_hide_a_regression_tree():
    (ours, *_) = rounded_trees.run(seeds=[0], datasets=["german-amount"], decimals=[2], labels=False).rows
    assert ours.r_unif.worst == 0.0 and ours.note == "verified"


def test_misuse():
    with pytest.raises(UsageError, match="no tree 'x'"):
        rounded_trees.run(datasets=["x"])
