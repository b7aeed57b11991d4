"""Binary logistic regression by labels alone: error against queries [Tramèr16, Fig. 4], on every two-class data set."""

from __future__ import annotations

from filch.paper.labels.strategies import knockoff, line_searches, linear_surrogate, ours, retraining
from filch.paper.labels.study import LabelStudy

STUDY = LabelStudy(
    "figure4",
    "Binary logistic regression by labels alone (Fig. 4)",
    "A binary logistic regression is copied through labels alone, over one-hot encoded and scaled columns; k = d + 1.",
    "binary",
    ("circles", "moons", "adult-income", "breast-cancer", "mushrooms", "diabetes"),
    (*ours("halfspace", precision=1e-12), line_searches(), *retraining(linear_surrogate), knockoff(linear_surrogate)),
    n_uniform=1_000_000,
    least=1e-6,
    printed=(
        ("adaptive", 827, 0.01, 0.01, "adaptive retraining is right on more than 99 % with 827 queries on average"),
        (
            "lowd-meek",
            2_050,
            0.0,
            0.0,
            "Lowd–Meek needs 2,050 queries on average, 5,650 at most, and is the best from there",
        ),
    ),
)
DATASETS = STUDY.datasets
run = STUDY.run
