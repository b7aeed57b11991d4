"""From kinks and gradients to units, and from units that are nearly right to exact ones.

Across a kink the gradient changes by ``w_i a_iᵀ``; a line shows a_i, so that one gradient holds m equations in the
normals w_i of the units that are on there, for each coordinate: ⌈k/m⌉ + 1 gradients determine k units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.attacks.relu_line import Line
from filch.attacks.relu_view import Heard, Units

Floats = npt.NDArray[np.float64]
_WIDEST = 1.0  # a cell need not be wider, in steps of its line
_SOUND = 30.0  # a selection of cells may be so many times worse conditioned than all of them
_NEAR = 1e-6  # of a unit's inputs: whether it is on is not certain
_DAMPING = 1e-15
_SAME = 1e-6  # normals of length 1 that differ by less are one
_CHUNK = 4_000_000  # entries of a Jacobian that are held at once


@dataclass(frozen=True, eq=False)
class Cells:
    """Places on a line at which gradients tell all units that have their kink on it.

    Attributes
    ----------
    home : float
        Where all those units are taken to be off.
    room : float
        The width of the cell around it.
    places, rooms : (K,)
        The other places, and the widths of their cells.
    on : (K, k) bool
        Which units are on there.
    """

    home: float
    room: float
    places: Floats
    rooms: Floats
    on: npt.NDArray[np.bool_]

    def only(self, kept: npt.NDArray[np.int64]) -> Cells:
        """Those of the places."""
        return Cells(self.home, self.room, self.places[kept], self.rooms[kept], self.on[kept])


def choose_cells(line: Line, home: float | None = None) -> Cells:
    """Choose few cells, wide ones, that determine the normals of all units of a line.

    ``home`` is a place of the cell in which all units are to be off; else a wide cell is chosen, not far out.
    """
    edges = np.concatenate([[line.low], line.kinks, [line.high]])
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    # The outermost cells are wide: their middles would be far out, where scores are large and hold fewer digits.
    reach = np.minimum(widths / 2, _WIDEST)
    middles[0], middles[-1] = edges[1] - reach[0], edges[-2] + reach[-1]
    rooms = 2 * reach
    wide = int(np.argmax(rooms / (1.0 + np.abs(middles))))
    first = wide if home is None else int(np.searchsorted(line.kinks, home))
    index, units = np.arange(len(middles)), np.arange(len(line.kinks))
    right = units[None, :] >= first  # kinks to the right of home are on further right
    on = np.where(right, index[:, None] > units, index[:, None] <= units)
    others = np.flatnonzero(index != first)
    lengths = np.linalg.norm(line.jumps, axis=1)
    blocks = on[others, None, :] * (line.jumps / np.where(lengths > 0, lengths, 1.0)[:, None]).T
    chosen = others[select(blocks * rooms[others, None, None])]
    return Cells(float(middles[first]), float(rooms[first]), middles[chosen], rooms[chosen], on[chosen])


def select(blocks: Floats) -> npt.NDArray[np.int64]:
    """Take blocks of equations one by one, each the one that adds most, until they are nearly as good as all.

    Parameters
    ----------
    blocks : (n, m, k)
        m equations in k unknowns each.
    """
    count, size, unknowns = blocks.shape
    if not unknowns or not count:
        return np.empty(0, dtype=np.int64)
    values = np.linalg.svd(blocks.reshape(-1, unknowns), compute_uv=False)
    least = float(values[-1])
    gram, chosen = np.eye(unknowns) * max(1e-3 * least, 1e-6 * float(values[0])) ** 2, list[int]()
    for _ in range(count):
        inner = np.eye(size) + blocks @ np.linalg.inv(gram) @ blocks.transpose(0, 2, 1)
        gains = np.linalg.slogdet(inner)[1]
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        gram = gram + blocks[chosen[-1]].T @ blocks[chosen[-1]]
        if len(chosen) * size >= unknowns:
            values = np.linalg.svd(blocks[chosen].reshape(-1, unknowns), compute_uv=False)
            if values[-1] * _SOUND >= least:
                break
    return np.array(sorted(chosen), dtype=np.int64)


def solve_normals(line: Line, cells: Cells, changes: Floats, weights: Floats) -> Floats:
    """Solve for the normals of a line's units.

    Parameters
    ----------
    line, cells
    changes : (K, D, m)
        Gradients at the cells less that at home.
    weights : (K,)
        How exactly each is known.

    Returns
    -------
    (D, k)
    """
    units = len(line.kinks)
    matrix = (cells.on[:, None, :] * line.jumps.T * weights[:, None, None]).reshape(-1, units)
    wanted = (changes * weights[:, None, None]).transpose(0, 2, 1).reshape(len(matrix), -1)
    lengths = np.linalg.norm(matrix, axis=0)
    lengths[lengths == 0] = 1.0
    return np.asarray((np.linalg.lstsq(matrix / lengths, wanted, rcond=None)[0] / lengths[:, None]).T)


def oriented(units: Units, exact: float = 1e-5) -> tuple[Units, bool]:
    """Turn units so that as little as possible of the map is affine; and whether nothing is left but constants.

    ``a·max(0, z) = a·max(0, −z) + a·z``: which side a unit is on at shows only in what is left.
    """
    if not units.count:
        return units, not np.abs(units.affine[:-1]).max(initial=0.0) > 0
    normals, outer = units.inner[:-1], units.outer
    gram = (normals.T @ normals) * (outer @ outer.T)
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    wanted = -np.einsum("dk,dm,km->k", normals, units.affine[:-1], outer)
    share = np.linalg.lstsq(gram / np.outer(scale, scale), wanted / scale, rcond=1e-12)[0] / scale
    turned = share > 0.5
    sign = np.where(turned, -1.0, 1.0)
    affine = units.affine + (units.inner * turned) @ outer
    left = np.abs(affine[:-1]).max(initial=0.0)
    size = np.abs(normals).max(axis=0) * np.abs(outer).max(axis=1)
    if left <= exact * max(size.max(initial=0.0), np.abs(units.affine[:-1]).max(initial=0.0)):
        affine[:-1] = 0.0
        return Units(affine, units.inner * sign, outer), True
    return Units(affine, units.inner * sign, outer), False


def merged(units: Units) -> Units:
    """One unit for all that have the same kink."""
    if not units.count:
        return units
    length = np.linalg.norm(units.inner[:-1], axis=0)
    whole = units.inner / np.where(length > 0, length, 1.0)
    first = np.argmax(np.abs(whole[:, :, None] - whole[:, None, :]).max(axis=0) < _SAME, axis=1)
    kept = np.unique(first)
    outer = np.zeros_like(units.outer)
    np.add.at(outer, first, units.outer * (length / np.where(length[first] > 0, length[first], 1.0))[:, None])
    return Units(units.affine, units.inner[:, kept], outer[kept])


def polish(units: Units, heard: Heard, *, bent: bool, rounds: int = 4) -> Units:
    """Fit all weights to all answers by Gauss–Newton steps, which units are on being known.

    Parameters
    ----------
    units : Units
        Nearly right.
    heard : Heard
        Answers that hold equations, all of which ``units`` nearly explains.
    bent : bool
        Whether the affine part is but a constant.
    rounds : int
        The most steps.
    """
    best, least = units, _misfit(units, heard)
    for _ in range(rounds):
        step = _step(best, heard, bent)
        worth = _misfit(step, heard)
        if not worth < 0.9 * least:
            return step if worth < least else best
        best, least = step, worth
    return best


def _misfit(units: Units, heard: Heard) -> float:
    off = (units.scores(heard.points) - heard.scores) / heard.noise[:, None]
    return float(np.sqrt(np.mean(off**2))) if len(off) else 0.0


def _step(units: Units, heard: Heard, bent: bool) -> Units:
    points = np.column_stack([heard.points, np.ones(len(heard.points))])
    size, k, m = points.shape[1], units.count, units.outer.shape[1]
    inputs = points @ units.inner
    sure = np.abs(inputs) > _NEAR * np.abs(inputs).max(axis=0, initial=0.0)
    weights = np.where(sure.all(axis=1), 1.0 / heard.noise, 0.0)
    weights = weights / weights.max(initial=1e-300)
    off = heard.scores - units.scores(heard.points)
    free = points[:, -1:] if bent else points
    total = k * size + k * m + free.shape[1] * m
    normal, right = np.zeros((total, total)), np.zeros(total)
    chunk = max(1, _CHUNK // (total * m))
    for start in range(0, len(points), chunk):
        part = slice(start, start + chunk)
        on = np.maximum(inputs[part], 0.0)
        active = (inputs[part] > 0) * weights[part, None]
        rows = len(on)
        jacobian = np.empty((rows, m, total))
        inner = np.einsum("rk,km,rd->rmkd", active, units.outer, points[part], optimize=True)
        jacobian[:, :, : k * size] = inner.reshape(rows, m, k * size)
        eye = np.eye(m)
        outer = np.einsum("rk,mn->rmkn", on * weights[part, None], eye)
        jacobian[:, :, k * size : k * size + k * m] = outer.reshape(rows, m, k * m)
        jacobian[:, :, k * size + k * m :] = np.einsum("rf,mn->rmfn", free[part] * weights[part, None], eye).reshape(
            rows, m, -1
        )
        flat = jacobian.reshape(rows * m, total)
        normal += flat.T @ flat
        right += flat.T @ (off[part] * weights[part, None]).reshape(-1)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    normal *= scale[:, None] * scale
    normal[np.diag_indices(total)] += _DAMPING * total
    change = scale * linalg.solve(normal, scale * right, assume_a="pos", check_finite=False)
    affine = units.affine.copy()
    affine[-1 if bent else slice(None)] += change[k * size + k * m :].reshape(-1, m)[-1 if bent else slice(None)]
    inner_change = change[: k * size].reshape(k, size).T
    outer_change = change[k * size : k * size + k * m].reshape(k, m)
    return Units(affine, units.inner + inner_change, units.outer + outer_change)
