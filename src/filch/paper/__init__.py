"""The paper's tables and figures, one module each: this tool, the paper's method run here, the paper's printed figure.

::

    table = filch.paper.studies()["table4"](datasets=["iris"], results="cells/", jobs=2)
    print(table.as_json())
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
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
from filch.paper.tables import Row, Spread, Table

__all__ = ["Gallery", "Reproduction", "Row", "Section", "Spread", "Table", "studies"]


@dataclass(frozen=True)
class Reproduction:
    """One table or figure of the paper; call it to compute it.

    All take these settings, by name:

    - ``seeds`` (sequence of int; 0 … 4): one extraction each, behind each median and worst value.
    - ``datasets`` (sequence of str; `datasets`): some of them.
    - ``progress`` (callable): told of each step, as `filch.paper.cells.Told`.

    Those made of cells (`kept`) take two more:

    - ``results`` (path): a folder that keeps each cell (a method on a data set with one seed) as soon as it is there;
      the same call goes on from it after a kill, and computes what is new.
    - ``jobs`` (int; 1): processes side by side.

    A study may have settings of its own: see its ``run``. All raise `UsageError` for a name that they do not know or a
    package that is missing, and `DataError` for a data set that cannot be found or a folder that cannot be written.

    Attributes
    ----------
    description : str
        In a line.
    time : str
        About how long all of it takes with five seeds, on two cores that do nothing else.
    run : callable
        Takes the settings, returns a `Table`.
    datasets : tuple of str
        Those that it runs on unless told otherwise.
    pictures : bool
        Whether the table comes with a `Gallery`.

    Examples
    --------
    >>> figure = studies()["figure7"]
    >>> figure.kept, figure.pictures
    (True, True)
    >>> figure.takes
    ('seeds', 'datasets', 'decimals', 'alphas', 'labels', 'results', 'jobs', 'progress')
    """

    description: str
    time: str
    run: Callable[..., Table]
    datasets: tuple[str, ...]
    pictures: bool = False

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of its settings."""
        return tuple(inspect.signature(self.run).parameters)

    @property
    def kept(self) -> bool:
        """Whether it is made of cells, which ``results`` keeps."""
        return "results" in self.takes

    def __call__(self, **settings: Any) -> Table:
        """Compute it."""
        return self.run(**settings)


def studies() -> Mapping[str, Reproduction]:
    """Every reproduction, by the name that ``filch reproduce`` takes.

    Examples
    --------
    >>> studies()["table4"].datasets[0]
    'adult-race'
    """
    return {
        "appendix-d": _study(appendix_d, "10 min", "a softmax copied by other classes (App. D)"),
        "bigml": _study(bigml, "3 min", "an emulated BigML (§5.1); needs its client"),
        "binary-lr": _study(binary_lr, "10 s", "binary logistic regression (§4.1.1)"),
        "faces": _study(faces, "30 min", "faces copied, and people seen in them (§4.1.4)", True),
        "figure2": _study(figure2, "1 hour", "training rows out of kernel models (Fig. 2)", True),
        "figure4": _study(figure4, "10 min", "labels alone: binary logistic regression (Fig. 4)", True),
        "figure5": _study(figure5, "hours", "labels alone: softmax regression (Fig. 5)", True),
        "figure6": _study(figure6, "hours", "labels alone: RBF machines (Fig. 6)", True),
        "figure7": _study(figure7, "1 hour", "a softmax behind rounding, and by labels (Fig. 7)", True),
        "mlp-labels": _study(mlp_labels, "hours", "labels alone: networks (§6)", True),
        "networks": _study(networks, "10 min", "networks of tanh and logistic units (§4.1.2)"),
        "rounded-networks": _study(rounded_networks, "1 hour", "networks behind rounding (§7)"),
        "rounded-trees": _study(rounded_trees, "3 min", "trees behind rounding, and by labels alone (§7)"),
        "table4": _study(table4, "10 min", "softmax, one-vs-rest, networks (Table 4, §4.1.2)"),
        "table6": _study(table6, "5 min", "decision trees by path finding (Table 6)"),
        "table7": _study(table7, "2 min", "an emulated Amazon ML (Table 7); needs boto3", True),
    }


def _study(module: ModuleType, time: str, description: str, pictures: bool = False) -> Reproduction:
    return Reproduction(description, time, module.run, module.DATASETS, pictures)
