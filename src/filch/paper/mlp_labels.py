"""Networks by labels alone: error against queries [Tramèr16, §6], on every multiclass data set.

The target has 20 hidden tanh units and scikit-learn's defaults.
"""

from __future__ import annotations

from filch.paper.labels.strategies import knockoff, network_surrogate, ours, retraining
from filch.paper.labels.study import LabelStudy
from filch.paper.targets import HIDDEN

STUDY = LabelStudy(
    "mlp-labels",
    "Networks by labels alone (§6)",
    "A network of 20 hidden tanh units is copied through labels alone, over one-hot encoded and scaled columns; "
    "k = h(d + 1) + c(h + 1), h = 20.",
    "mlp-tanh",
    ("adult-race", "blobs", "5-class", "iris", "steak", "gss", "digits"),
    (
        *ours("committee", stops=True, hidden=HIDDEN, activation="tanh"),
        *retraining(network_surrogate),
        knockoff(network_surrogate),
    ),
    n_uniform=10_000,
    least=1e-4,
    printed=(
        (
            "best strategy",
            108_200,
            0.0084,
            0.0176,
            "99.16 % on test rows and 98.24 % on uniform rows at α = 100, 108,200 queries on average",
        ),
    ),
)
DATASETS = STUDY.datasets
run = STUDY.run
