"""What categories and steps add to a score, from points of the boundary and from labels beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.contradiction import separate
from filch.core.features import FeatureSpace, Rows

Floats = npt.NDArray[np.float64]
_TOLD = 1e-6  # what equations leave open of a jump that they tell


@dataclass(frozen=True)
class Jump:
    """A change of one category or stepped column, from the value at the boundary point to another one."""

    column: int
    value: float
    categorical: bool

    @property
    def name(self) -> str:
        """For lockstep."""
        return f"column {self.column} to {self.value!r}"

    def text(self, space: FeatureSpace) -> str:
        """For a person."""
        row = space.low.copy()
        row[self.column] = self.value
        return f"{space.names[self.column]}={space.decode(row[None]).iloc[0, self.column]!s}"

    def share(self, rows: Rows, point: Rows) -> Floats:
        """How much of the jump each row has made from the point, of shape (n,)."""
        values = rows[:, self.column]
        if self.categorical:
            return np.asarray(values == self.value, dtype=np.float64)
        return np.asarray((values - point[self.column]) / (self.value - point[self.column]))


def jumps_from(point: Rows, space: FeatureSpace) -> list[Jump]:
    """To all categories but the point's, and of each stepped column to the end that is further away."""
    found = []
    ends = space.snap(np.array([space.low, space.high]))
    for column in np.flatnonzero((space.grid > 0) & (space.high > space.low)):
        if space.categorical[column]:
            values = [float(code) for code in range(space.sizes[column]) if code != point[column]]
        else:
            values = [float(ends[np.abs(ends[:, column] - point[column]).argmax(), column])]
        found += [Jump(int(column), value, bool(space.categorical[column])) for value in values]
    return found


def independent(system: Floats, shares: Floats) -> list[int]:
    """Which rows of ``shares`` (n, j) are equations that ``system`` (m, j) and those before them do not hold yet."""
    chosen: list[int] = []
    rank = int(np.linalg.matrix_rank(system)) if len(system) else 0
    for number in range(len(shares)):
        if rank == shares.shape[1]:
            break
        taller = np.vstack([system, shares[number]])
        if np.linalg.matrix_rank(taller) > rank:
            system, rank = taller, rank + 1
            chosen.append(number)
    return chosen


def solve(
    system: Floats,
    targets: Floats,
    guess: Floats,
    shares: Floats,
    numbers: Floats,
    labels: npt.NDArray[np.bool_],
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Solve for the jumps; what equations leave open is put where labels want it.

    Parameters
    ----------
    system, targets : (m, j), (m,)
        Equations ``system · jumps = targets``.
    guess : (j,)
        What to stay close to where neither equations nor labels tell more.
    shares, numbers, labels : (n, j), (n,), (n,)
        Rows: the score ``shares · jumps + numbers`` is above 0 where the label is True.

    Returns
    -------
    jumps, told : (j,), (j,)
        And which of them the equations tell.
    """
    jumps = guess.copy()
    free = np.eye(len(guess))
    if len(system):
        jumps += np.linalg.lstsq(system, targets - system @ guess, rcond=None)[0]
        free -= np.linalg.pinv(system) @ system
    told = np.linalg.norm(free, axis=0) < _TOLD
    if not told.all():
        directions, lengths, _ = np.linalg.svd(free)
        directions = directions[:, lengths > 0.5]
        design = np.column_stack([shares @ directions, shares @ jumps + numbers])
        if ((design[:, -1] > 0) != labels).any():
            one = np.append(np.zeros(directions.shape[1]), np.abs(design[:, -1]).mean() or 1.0)
            weights, _ = separate(np.vstack([design, one]), np.append(labels, True))
            if weights is not None:
                jumps += directions @ (weights[:-1] / weights[-1])
    return jumps, np.asarray(told)
