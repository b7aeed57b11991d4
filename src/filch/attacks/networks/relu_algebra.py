"""From kinks and gradients to units, and from units that are nearly right to exact ones.

Across a kink the gradient changes by ``w_i a_iᵀ``; a line shows a_i, so that one gradient holds m equations in the
normals w_i of the units that are on there, for each coordinate: ⌈k/m⌉ + 1 gradients determine k units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, lsmr

from filch.attacks.networks.relu_line import Line
from filch.attacks.networks.relu_view import Heard, Units

Floats = npt.NDArray[np.float64]
_WIDEST = 1.0  # a cell need not be wider, in steps of its line
_SOUND = 30.0  # a selection of cells may be so many times worse conditioned than all of them
_NEAR = 1e-6  # of a unit's inputs: whether it is on is not certain
_DENSE, _STEPS = 4_000, 2_000  # unknowns of normal equations, and steps of the iteration where there are more
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
    equations = _Equations(points, free, inputs, units.outer, weights)
    change = equations.solve((off * weights[:, None]).reshape(-1))
    affine = units.affine.copy()
    affine[-1 if bent else slice(None)] += change[k * size + k * m :].reshape(-1, m)[-1 if bent else slice(None)]
    inner_change = change[: k * size].reshape(k, size).T
    outer_change = change[k * size : k * size + k * m].reshape(k, m)
    return Units(affine, units.inner + inner_change, units.outer + outer_change)


@dataclass(frozen=True, eq=False)
class _Equations:
    """The linear equations of a step: what a change of the weights into units, out of them and of the rest does."""

    points: Floats
    free: Floats
    inputs: Floats
    outer: Floats
    weights: Floats

    @property
    def total(self) -> int:
        (units, outputs), size = self.outer.shape, self.points.shape[1]
        return int(units * (size + outputs) + self.free.shape[1] * outputs)

    def solve(self, right: Floats) -> Floats:
        """Solve them by least squares: by normal equations, or by iteration where those would be too many."""
        if self.total > _DENSE:
            return self.iterate(right)
        normal, wanted = np.zeros((self.total, self.total)), np.zeros(self.total)
        outputs = self.outer.shape[1]
        chunk = max(1, _CHUNK // (self.total * outputs))
        for start in range(0, len(self.points), chunk):
            flat = self.matrix(slice(start, start + chunk))
            normal += flat.T @ flat
            wanted += flat.T @ right[start * outputs : (start + chunk) * outputs]
        scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
        normal *= scale[:, None] * scale
        normal[np.diag_indices(self.total)] += _DAMPING * self.total
        try:
            factor = linalg.cho_factor(normal, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:  # not for numbers that are finite; then the step is left out
            return np.zeros(self.total)
        return np.asarray(scale * linalg.cho_solve(factor, scale * wanted, check_finite=False))

    def matrix(self, part: slice) -> Floats:
        """The equations of some rows, of shape (rows · m, total)."""
        (units, outputs), size = self.outer.shape, self.points.shape[1]
        weights = self.weights[part, None]
        on, active = np.maximum(self.inputs[part], 0.0) * weights, (self.inputs[part] > 0) * weights
        found, eye = np.empty((len(on), outputs, self.total)), np.eye(outputs)
        cuts = units * size, units * (size + outputs)
        inner = np.einsum("rk,km,rd->rmkd", active, self.outer, self.points[part], optimize=True)
        found[:, :, : cuts[0]] = inner.reshape(len(on), outputs, -1)
        found[:, :, cuts[0] : cuts[1]] = np.einsum("rk,mn->rmkn", on, eye).reshape(len(on), outputs, -1)
        free = np.einsum("rf,mn->rmfn", self.free[part] * weights, eye)
        found[:, :, cuts[1] :] = free.reshape(len(on), outputs, -1)
        return found.reshape(-1, self.total)

    def iterate(self, right: Floats) -> Floats:
        """Solve by LSMR, on columns of length 1; no matrix is held."""
        (units, outputs), size = self.outer.shape, self.points.shape[1]
        weights = self.weights[:, None]
        on, active, free = np.maximum(self.inputs, 0.0) * weights, (self.inputs > 0) * weights, self.free * weights
        lengths = np.linalg.norm(self.outer, axis=1)[:, None] * np.sqrt((active**2).T @ self.points**2)
        others = [np.repeat(np.linalg.norm(block, axis=0), outputs) for block in (on, free)]
        scale = 1.0 / np.maximum(np.concatenate([lengths.reshape(-1), *others]), 1e-300)
        scale[scale >= 1e299] = 0.0
        cuts = [units * size, units * (size + outputs)]

        def forward(change: Floats) -> Floats:
            inner, outer, rest = np.split(np.ravel(change) * scale, cuts)
            moved = (active * (self.points @ inner.reshape(units, size).T)) @ self.outer
            return np.asarray(moved + on @ outer.reshape(units, outputs) + free @ rest.reshape(-1, outputs)).reshape(-1)

        def back(scores: Floats) -> Floats:
            shaped = np.ravel(scores).reshape(-1, outputs)
            inner = ((active * (shaped @ self.outer.T)).T @ self.points).reshape(-1)
            parts = [inner, (on.T @ shaped).reshape(-1), (free.T @ shaped).reshape(-1)]
            return np.asarray(np.concatenate(parts) * scale)

        shape = len(right), self.total
        operator = LinearOperator(shape, matvec=forward, rmatvec=back, dtype=np.float64)
        found = lsmr(operator, right, atol=1e-14, btol=1e-14, conlim=0.0, maxiter=_STEPS)[0]
        return np.asarray(found * scale)
