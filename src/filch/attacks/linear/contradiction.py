"""Whether any linear model at all gives some labels, by linear programming.

If none does, a few rows prove it (Farkas' lemma): weighed by numbers ≥ 0, their signed design rows sum to 0, so that no
weights can put each of them on its label's side.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

Floats = npt.NDArray[np.float64]
_MOST = 4_000_000  # entries of a design: larger ones take minutes
_NONE = 1e-6  # a margin so small, of weights of at most 1, is none


def separate(design: Floats, labels: npt.NDArray[np.bool_]) -> tuple[Floats | None, npt.NDArray[np.intp]]:
    """Find weights that give all labels, or rows that prove that there are none.

    Parameters
    ----------
    design : (n, p)
    labels : (n,) bool
        Whether the score is above 0.

    Returns
    -------
    weights : (p,) or None
        Of the largest margin, each at most 1; None where there are none, or the design is too large to tell.
    rows : (k,)
        At most p + 1 indices of rows whose labels contradict each other; empty if none do.

    Examples
    --------
    >>> line = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> weights, rows = separate(line, np.array([False, True, False]))
    >>> weights is None, rows.tolist()
    (True, [0, 1, 2])
    """
    nothing = np.empty(0, dtype=np.intp)
    if not len(design) or design.size > _MOST:
        return None, nothing
    signed = np.where(labels[:, None], design, -design)
    size = design.shape[1]
    found = linprog(  # the largest t with signed · w ≥ t
        np.append(np.zeros(size), -1.0),
        A_ub=np.column_stack([-signed, np.ones(len(signed))]),
        b_ub=np.zeros(len(signed)),
        bounds=[(-1.0, 1.0)] * size + [(0.0, None)],
        method="highs",
    )
    if not found.success:
        return None, nothing
    solution = np.asarray(found.x)
    if solution[-1] > _NONE:
        return solution[:-1], nothing
    return None, np.flatnonzero(-found.ineqlin.marginals > _NONE)
