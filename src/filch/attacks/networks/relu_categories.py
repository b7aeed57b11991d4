"""What categories do to the units of a ReLU network: they shift each unit's bias, and the scores.

Far out along the numbers, units are so far from their kinks that no category turns one on or off: there the scores
move by ``ΔA + Σ_on a_i Δv_i``, linear in the shifts. ⌈h/m⌉ + 1 such places tell all shifts of each category.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from filch.attacks.networks.relu_algebra import select
from filch.attacks.networks.relu_view import Heard, Units, View
from filch.core.features import Rows

Floats = npt.NDArray[np.float64]
_TRIED = 20_000  # places among which those are chosen where no unit is near its kink
_LISTED = 500
_WIDE = 30.0, 10.0, 3.0, 1.0, 0.0  # kinks are at least so many typical weights away, if that leaves enough places
_LARGEST = 200.0  # a score beyond which probabilities may vanish
_FURTHEST = 1_000.0  # half ranges
_EXTRA = 2  # places more than are needed: they tell where a unit has turned after all
_FITS = 1e-7  # of the scores


@dataclass(eq=False)
class Switches:
    """The rows that tell what categories do, and the solution of their answers.

    Parameters
    ----------
    view : View
    units : Units
        Exact for the first category of each column.
    rng : Generator
    """

    view: View
    units: Units
    rng: np.random.Generator
    places: Rows = field(init=False)
    on: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        view, units, rng = self.view, self.units, self.rng
        size = len(view.moving)
        steps = rng.normal(size=(_TRIED, size)) / np.sqrt(size)
        steps *= np.exp(rng.uniform(0.0, np.log(_FURTHEST), (_TRIED, 1)))
        rows = view.moved(view.design.base, steps)
        points = view.points(rows)
        scores, inputs = units.scores(points), units.inputs(points)
        typical = np.linalg.norm(units.inner[view.numeric], axis=0) / np.sqrt(size)
        room = (np.abs(inputs) / np.where(typical > 0, typical, 1.0)).min(axis=1, initial=np.inf)
        fitting = np.abs(scores).max(axis=1) <= (_LARGEST if view.spec.classes is not None else np.inf)
        rows, inputs, room = rows[fitting], inputs[fitting], room[fitting]
        widest = np.argsort(-room, kind="stable")
        # Of all places where the same units are on, the one that is furthest from every kink.
        _, first = np.unique(inputs[widest] > 0, axis=0, return_index=True)
        listed = widest[np.sort(first)][:_LISTED]
        rows, on, room = rows[listed], inputs[listed] > 0, room[listed]
        clear = np.ones(len(listed), dtype=bool)
        if len(listed):
            all_ = self.weakest(on)
            clear = next(roomy for wide in _WIDE if self.weakest(on[roomy := room >= wide]) >= 0.1 * all_)
        rows, on = rows[clear], on[clear]
        chosen = list(select(self.blocks(on)))
        chosen += [place for place in range(len(on)) if place not in chosen][:_EXTRA]
        self.places, self.on = rows[chosen], on[chosen]

    def weakest(self, on: npt.NDArray[np.bool_]) -> float:
        """The least singular value of the equations of places."""
        blocks = self.blocks(on)
        return float(np.linalg.svd(blocks.reshape(-1, blocks.shape[2]), compute_uv=False)[-1]) if len(on) else 0.0

    def blocks(self, on: npt.NDArray[np.bool_]) -> Floats:
        """The equations of places, of shape (n, m, m + k)."""
        outer = self.units.outer
        eye = np.broadcast_to(np.eye(outer.shape[1]), (len(on), outer.shape[1], outer.shape[1]))
        return np.concatenate([eye, on[:, None, :] * outer.T], axis=2)

    def rows(self) -> Rows:
        """The rows to ask: each place, and each place with each category switched."""
        rows = np.repeat(self.places[:, None], 1 + len(self.view.jumping), axis=1)
        for number, (column, code) in enumerate(self.view.jumping):
            rows[:, 1 + number, column] = code
        return rows.reshape(-1, self.places.shape[1])

    def solve(self, told: Heard) -> Units:
        """The units with the categories' weights."""
        count, categories = len(self.places), len(self.view.jumping)
        scores = told.scores.reshape(count, 1 + categories, -1)
        sound = np.isfinite(told.noise).reshape(count, -1)
        changes = scores[:, 1:] - scores[:, :1]
        blocks = self.blocks(self.on)
        affine, inner = self.units.affine.copy(), self.units.inner.copy()
        for number, coordinate in enumerate(self.view.discrete):
            usable = np.flatnonzero(sound[:, 0] & sound[:, 1 + number])
            best, least = np.zeros(blocks.shape[2]), np.inf
            for kept in [usable, *map(np.array, combinations(usable, len(usable) - 1))]:
                if not len(kept):
                    continue
                matrix, wanted = blocks[kept].reshape(-1, blocks.shape[2]), changes[kept, number].reshape(-1)
                shift = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
                off = float(np.abs(matrix @ shift - wanted).max())
                if off < 0.01 * least:
                    best, least = shift, off
                if least <= _FITS * (1.0 + np.abs(scores).max()):
                    break
            affine[coordinate], inner[coordinate] = best[: affine.shape[1]], best[affine.shape[1] :]
        return Units(affine, inner, self.units.outer)
