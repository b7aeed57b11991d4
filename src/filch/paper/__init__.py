"""The paper's tables and figures, one module each: this tool, the paper's method run here, the paper's printed figure.

::

    table = filch.paper.studies()["table4"]()
    print(table.as_json())
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from filch.paper import (
    appendix_d,
    bigml,
    binary_lr,
    faces,
    figure2,
    figure4,
    figure5,
    figure6,
    figure7,
    mlp_labels,
    networks,
    rounded_networks,
    rounded_trees,
    table4,
    table6,
    table7,
)
from filch.paper.gallery import Gallery, Section
from filch.paper.labels.study import LabelStudy
from filch.paper.tables import Row, Spread, Table

__all__ = ["Gallery", "Reproduction", "Row", "Section", "Spread", "Table", "studies"]


@dataclass(frozen=True)
class Reproduction:
    """One table or figure of the paper; call it to compute it.

    Attributes
    ----------
    description : str
        In a line.
    datasets : tuple of str
        Those that it runs on unless told otherwise.
    run : callable
        Takes ``seeds``, ``datasets`` and ``progress``, each optional; returns a `Table`.
    pictures : bool
        Whether the table comes with a `Gallery`.
    cells : bool
        Whether ``run`` takes ``alphas``, ``strategies``, ``results`` and ``jobs`` too: see
        `filch.paper.labels.study.LabelStudy`. ``progress`` is then told how many cells are there, too.
    """

    description: str
    datasets: tuple[str, ...]
    run: Callable[..., Table]
    pictures: bool = False
    cells: bool = False

    def __call__(self, **settings: Any) -> Table:
        """Compute it."""
        return self.run(**settings)


def _labels(study: LabelStudy, description: str) -> Reproduction:
    return Reproduction(description, study.datasets, study.run, pictures=True, cells=True)


def studies() -> Mapping[str, Reproduction]:
    """Every reproduction, by the name that ``filch reproduce`` takes.

    Examples
    --------
    >>> studies()["table4"].datasets[0]
    'adult-race'
    """
    return {
        "appendix-d": Reproduction(
            "a softmax model copied by models of other classes (App. D); takes minutes a seed",
            appendix_d.DATASETS,
            appendix_d.run,
        ),
        "bigml": Reproduction(
            "trees at an emulated BigML, through its own client, with prices and times (§5.1); needs filch[bigml]",
            bigml.DATASETS,
            bigml.run,
        ),
        "binary-lr": Reproduction(
            "binary logistic regression on every two-class data set (§4.1.1)", binary_lr.DATASETS, binary_lr.run
        ),
        "faces": Reproduction(
            "a face classifier copied, and people's pictures inverted from the copy (§4.1.4); takes minutes",
            faces.DATASETS,
            faces.run,
            pictures=True,
        ),
        "figure2": Reproduction(
            "training rows out of kernel logistic regression (Fig. 2, §4.1.3)", figure2.DATASETS, figure2.run, True
        ),
        "figure4": _labels(figure4.STUDY, "binary logistic regression by labels alone (Fig. 4)"),
        "figure5": _labels(figure5.STUDY, "softmax regression by labels alone (Fig. 5); takes hours"),
        "figure6": _labels(figure6.STUDY, "RBF support vector machines by labels alone (Fig. 6); takes hours"),
        "figure7": Reproduction(
            "a softmax model behind rounding, and behind labels only (Fig. 7, §7); takes an hour",
            figure7.DATASETS,
            figure7.run,
            pictures=True,
        ),
        "mlp-labels": _labels(mlp_labels.STUDY, "networks by labels alone (§6); takes many hours"),
        "networks": Reproduction(
            "networks of tanh and logistic units on every multiclass data set (§4.1.2); takes minutes a seed",
            networks.DATASETS,
            networks.run,
        ),
        "rounded-networks": Reproduction(
            "networks behind rounded probabilities (§7); takes minutes a seed",
            rounded_networks.DATASETS,
            rounded_networks.run,
        ),
        "rounded-trees": Reproduction(
            "decision trees with rounded confidences, and by labels alone (Fig. 7's text); takes minutes",
            rounded_trees.DATASETS,
            rounded_trees.run,
        ),
        "table4": Reproduction(
            "softmax, one-vs-rest and networks on Adult-Race (Table 4); the first two on all multiclass sets (§4.1.2)",
            table4.DATASETS,
            table4.run,
        ),
        "table6": Reproduction(
            "decision trees by path finding, bottom-up and top-down (Table 6); takes minutes",
            table6.DATASETS,
            table6.run,
        ),
        "table7": Reproduction(
            "linear models behind bins at an emulated Amazon ML, through boto3 (Table 7); needs filch[amazon]",
            table7.DATASETS,
            table7.run,
            pictures=True,
        ),
    }
