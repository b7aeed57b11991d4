"""What was tested of an extracted tree, and what is only assumed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from filch.models.trees.tree import TreeModel

_TOLD = 20  # leaves that a certificate names, the least tested first


@dataclass(frozen=True, eq=False)
class TreeProof:
    """The tests behind an extracted tree.

    Attributes
    ----------
    low, high : (m,)
        Of each numeric split: the two values between which the threshold lies, both asked. NaN elsewhere.
    rows : (m,) int
        Rows whose answers came from each node.
    shared : (m,) bool
        Leaves whose answer other leaves give too, so that equal answers prove less.
    faces : (k, 4) int
        A line for each side of a leaf's box that a split bounds: the leaf, the column, rows asked in the leaf close
        beside that side, and how many of them were answered otherwise just across.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    shared: npt.NDArray[np.bool_]
    faces: npt.NDArray[np.int64]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Its arrays, by the names that they have in a file."""
        return {f"proof_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, arrays: dict[str, npt.NDArray[Any]]) -> TreeProof | None:
        """From a file's arrays, if they are there."""
        names = [field.name for field in fields(cls)]
        if f"proof_{names[0]}" not in arrays:
            return None
        return cls(**{name: arrays[f"proof_{name}"] for name in names})


@dataclass(frozen=True, eq=False)
class Certificate:
    """A summary of a `TreeProof`; ``str()`` tells it in words.

    Attributes
    ----------
    leaves : int
    faces : int
        Sides of leaves' boxes that a split bounds.
    tested : int
        Of these, how many were crossed from within their own leaf; the others are assumed, since the split was
        crossed beside other leaves.
    unvisited : int
        Leaves in which no row was asked.
    shared : int
        Leaves whose answer other leaves give too.
    widest : float
        The widest bracket of a threshold.
    doubtful : tuple of dict
        The least tested leaves: ``leaf`` (node index), ``rows``, ``faces``, ``tested``, ``shared``.
    """

    leaves: int
    faces: int
    tested: int
    unvisited: int
    shared: int
    widest: float
    doubtful: tuple[dict[str, int | bool], ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        told = [
            f"{self.leaves:,} leaves, {self.leaves - self.unvisited:,} of them asked in",
            f"{self.tested:,} of {self.faces:,} faces crossed from within their leaf; "
            f"{self.faces - self.tested:,} assumed, their splits crossed elsewhere",
            f"{self.shared:,} leaves share an answer with others: there equal answers prove less",
            f"thresholds within {self.widest:.3g}",
        ]
        return "\n".join(told)


def certify(tree: TreeModel, proof: TreeProof) -> Certificate:
    """Sum up what was tested."""
    leaves = tree.leaves_
    size = len(tree.column)
    faces = np.bincount(proof.faces[:, 0], minlength=size)
    tested = np.bincount(proof.faces[proof.faces[:, 3] > 0, 0], minlength=size)
    doubt = np.lexsort((leaves, proof.rows[leaves], tested[leaves] - faces[leaves], ~proof.shared[leaves]))
    told = tuple(
        {
            "leaf": int(leaf),
            "rows": int(proof.rows[leaf]),
            "faces": int(faces[leaf]),
            "tested": int(tested[leaf]),
            "shared": bool(proof.shared[leaf]),
        }
        for leaf in leaves[doubt[:_TOLD]]
    )
    width = proof.high - proof.low
    return Certificate(
        leaves=len(leaves),
        faces=len(proof.faces),
        tested=int((proof.faces[:, 3] > 0).sum()),
        unvisited=int((proof.rows[leaves] == 0).sum()),
        shared=int(proof.shared[leaves].sum()),
        widest=float(np.nanmax(width)) if np.isfinite(width).any() else 0.0,
        doubtful=told,
    )
