"""The algebra of RBF kernel models: representers, their number and γ from singular values and eigenvalues.

The kernel is a product over columns: ``K(x, x_r) = K₁(u, x_r) · K₂(v, x_r)`` where u are some columns of x and v the
others. Log-ratios of probabilities at rows that join every u_a with every v_b are therefore a matrix of rank s + 1, of
s representers and the bias, whatever γ and the bias are. A second such matrix, with some columns of every v changed
alike, has the same factors, so that the eigenvectors of the pencil of both separate the representers, up to scale. The
quotient ``K₂(v, x_r) / K₂(v₀, x_r)`` of two rows is free of the scale; its logarithm is linear in γ and γ x_r.
Matrices that share both factors are a three-way array, and eigenvectors of their pencil decompose it [Leurgans93].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_SHARES = np.array([0.3, 0.4, 0.3])  # of the columns, in each group
_SPARE = 2  # singular values of noise that must be seen below the gap
_GAP = 30.0  # between the last singular value of the model and the first of noise, at least
_NOISE = 3e3  # times what rounding lets expect: singular values above it are no noise
_SURE, _MAYBE = 1e-6, 0.3  # sizes, in medians, up to which logarithms are those of the bias
_POOL = 10  # rows to choose from, for each one needed
_SIDE = 0.3  # of a range, from its end, in which the changed columns lie


@dataclass(frozen=True, eq=False)
class Groups:
    """The columns that vary, in three groups; masks over the raw columns.

    Parameters
    ----------
    space : FeatureSpace
    first, second, third : (d,) bool
        Columns that are u; columns that are v; columns that are v and change from one matrix to the other.
    """

    space: FeatureSpace
    first: Mask
    second: Mask
    third: Mask

    @classmethod
    def draw(cls, space: FeatureSpace, rng: np.random.Generator, turn: int = 0) -> Groups:
        """Share numbers and categories out at random, so that each group has its part of both.

        A category in the third group tells few values apart: categories go there last, and numbers first. Each turn
        brings other columns there.
        """
        columns = rng.permutation(varying(space))
        groups = np.full(len(space), -1)
        for chosen, order in (
            (columns[~space.categorical[columns]], (2, 0, 1)),
            (columns[space.categorical[columns]], (0, 1, 2)),
        ):
            given, chosen = np.zeros(3), np.roll(chosen, turn * max(1, round(_SHARES[2] * len(chosen))))
            for column in chosen:  # to the group that lacks most of its share
                lacking = _SHARES - given / len(chosen)
                groups[column] = max(order, key=lambda group: lacking[group] / _SHARES[group])
                given[groups[column]] += 1
        for group in range(3):  # few columns: none may be empty
            if not (groups == group).any():
                full = np.bincount(groups[columns]).argmax()
                groups[columns[groups[columns] == full][0]] = group
        return cls(space, groups == 0, groups == 1, groups == 2)

    @property
    def later(self) -> Mask:
        """The columns that are v."""
        return self.second | self.third

    def encoded(self, columns: Mask) -> Mask:
        """The same columns in the encoded view."""
        return np.repeat(columns, OneHot(self.space).widths)

    def free(self, columns: Mask) -> int:
        """The dimension that these columns span in the encoded view."""
        return int(np.where(self.space.categorical, self.space.sizes - 1, 1)[columns].sum())

    def join(self, first: Rows, later: Rows) -> Rows:
        """Every row of ``first`` with every row of ``later``, of shape (n₁ n₂, d)."""
        joined = np.where(self.first, first[:, None, :], later[None, :, :])
        return joined.reshape(-1, len(self.space))


def varying(space: FeatureSpace) -> npt.NDArray[np.int64]:
    """The columns that vary."""
    return np.flatnonzero(space.high > space.low)


def spread(space: FeatureSpace, n: int, rng: np.random.Generator) -> Rows:
    """Random rows that favour the ends of ranges, where kernels differ most; of shape (n, d)."""
    rows = space.sample(n, rng)
    width = np.where(space.high > space.low, space.high - space.low, 1.0)
    ends = space.low + width * (1.0 - np.cos(np.pi * (rows - space.low) / width)) / 2.0
    return space.snap(np.where(space.categorical, rows, ends))


def completing(groups: Groups, columns: Mask, known: Rows, rng: np.random.Generator, by_column: bool = False) -> Rows:
    """Rows that, with those known, move some columns in all directions, and two more; of shape (n, d).

    The length of a row counts as a direction, so that γ is told, too; ``by_column`` the square of each of its columns.
    """
    view = OneHot(groups.space)
    pool = spread(groups.space, _POOL * (groups.free(columns) + _SPARE), rng)
    inside = view.encode(np.concatenate([known, pool]))[:, groups.encoded(columns)]
    moved = np.column_stack([inside, inside**2 if by_column else (inside**2).sum(axis=1)])
    moved = moved[1:] - moved[0]
    seen = linalg.orth(moved[: len(known) - 1].T, rcond=1e-9)
    beyond = moved[len(known) - 1 :].T
    beyond = beyond - seen @ (seen.T @ beyond)
    missing = np.linalg.matrix_rank(moved, tol=1e-9 * max(1.0, float(np.abs(moved).max()))) - seen.shape[1]
    pivots = linalg.qr(beyond, mode="r", pivoting=True)[1]
    return np.asarray(pool[pivots[: int(missing) + _SPARE]])


def opposite(space: FeatureSpace, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Two rows, (d,) each: numbers lie near opposite ends of their ranges, and categories differ."""
    near, far = space.sample(2, rng)
    width, side = space.high - space.low, rng.random(len(space)) < 0.5
    low, high = space.low + _SIDE * (near - space.low), space.high - _SIDE * (space.high - far)
    turned = (near + 1 + np.floor(rng.random(len(space)) * np.maximum(width, 1.0))) % (width + 1)
    one = np.where(space.categorical, near, np.where(side, low, high))
    other = np.where(space.categorical, np.round(turned), np.where(side, high, low))
    return space.snap(one[None])[0], space.snap(other[None])[0]


def rank_of(matrix: Floats, unit: float) -> tuple[int, float] | None:
    """The rank of a matrix with rounding in it, where the singular values tell, and the gap that shows it.

    Parameters
    ----------
    matrix : (n₁, n₂)
    unit : float
        How far an entry may be off.
    """
    if min(matrix.shape) <= _SPARE + 1:
        return None
    values = linalg.svdvals(matrix)
    floor = unit * max(1.0, float(np.abs(matrix).max())) * (np.sqrt(matrix.shape[0]) + np.sqrt(matrix.shape[1]))
    gaps = values[:-1] / np.maximum(values[1:], 1e-3 * floor)
    gaps[values[1:] > _NOISE * floor] = 0.0
    rank = int(gaps[: len(gaps) - _SPARE + 1].argmax()) + 1
    return (rank, float(gaps[rank - 1])) if gaps[rank - 1] >= _GAP else None


def separate(matrix: Floats, changed: Floats, every: Floats, rank: int) -> tuple[Floats, float]:
    """Columns, one a representer and one the bias, of which all columns of ``every`` are made.

    Parameters
    ----------
    matrix, changed : (n₁, n)
        The same v in both, but for the columns that change.
    every : (n₁, n₂)
        All columns that are known.

    Returns
    -------
    (n₁, rank), float
        The second is how far the closest two eigenvalues are apart, as a share: those that coincide separate nothing.
    """
    basis = linalg.svd(every, full_matrices=False)[0][:, :rank]
    quotient = (basis.T @ changed) @ linalg.pinv(basis.T @ matrix)
    values, vectors = linalg.eig(quotient)
    parts = np.where(values.imag < 0, vectors.imag, vectors.real)  # of a pair that rounding has made complex
    apart = np.abs(values[:, None] - values) / np.maximum(np.abs(values), 1e-300)
    return np.asarray(basis @ parts), float(np.min(apart[~np.eye(rank, dtype=bool)], initial=np.inf))


def quotients(separated: Floats, every: Floats) -> tuple[Floats, Floats]:
    """Scale separated columns so that the first known column is their sum; what each of the others takes of them.

    Returns
    -------
    (n₁, rank), (rank, n₂)
        The second is ``K₂(v, x_r) / K₂(v₀, x_r)``, and 1 for the bias.
    """
    shares = linalg.lstsq(separated, every)[0]
    first = np.where(shares[:, :1] == 0.0, 1e-300, shares[:, :1])
    return separated * first[:, 0], shares / first


@dataclass(frozen=True, eq=False)
class Logs:
    """Logarithms of quotients, and the rows that they belong to.

    Parameters
    ----------
    values : (n, rank)
        ``log K(x, x_r) / K(x₀, x_r)``.
    moved : (n, width)
        ``x − x₀`` in the encoded view.
    squares : (n, width)
        ``x² − x₀²``.
    """

    values: Floats
    moved: Floats
    squares: Floats

    @property
    def lengthened(self) -> Floats:
        """``‖x‖² − ‖x₀‖²``, of shape (n,)."""
        return np.asarray(self.squares.sum(axis=1))

    @classmethod
    def of(cls, ratios: Floats, rows: Floats, origin: Floats) -> Logs:
        """Take logarithms; a quotient that rounding has made negative counts by its size."""
        return cls(np.log(np.maximum(np.abs(ratios), 1e-300)), rows - origin, rows**2 - origin**2)

    def without(self, column: int | None) -> Logs:
        """The same without a column of the values."""
        if column is None:
            return self
        return Logs(np.delete(self.values, column, axis=1), self.moved, self.squares)


def biases(parts: list[Logs]) -> list[int | None]:
    """Which column may be the bias, whose quotients are all 1; likelier ones first, None for none."""
    sizes = np.max([np.abs(part.values).max(axis=0) for part in parts], axis=0)
    least = int(sizes.argmin())
    small = sizes[least] / np.median(sizes)
    return [least] if small < _SURE else [least, None] if small < _MAYBE else [None]


@dataclass(frozen=True, eq=False)
class Located:
    """What logarithms say: representers (s, width) in the encoded view, γ (width,), and the share left unexplained."""

    representers: Floats
    gamma: Floats
    unexplained: float


def locate(view: OneHot, parts: list[Logs], by_column: bool = False) -> Located | None:
    """Solve ``log K(x) / K(x₀) = −Σ_j γ_j Δ(x_j²) + 2 Σ_j γ_j Δx_j x_rj``; None where no positive γ comes out.

    One γ for all columns, or ``by_column`` one for each, which needs rows that move squares and columns apart. What a
    block of categories leaves open, a shift of all its entries, is chosen so that they sum to 1.
    """
    gamma = _gammas(view, parts) if by_column else _gamma(parts)
    if gamma is None:
        return None
    gamma = np.broadcast_to(gamma, (view.width,))
    found, left, whole = np.zeros((parts[0].values.shape[1], view.width)), 0.0, 0.0
    for part in parts:
        target = part.values + (part.squares @ gamma)[:, None]
        pulls = linalg.lstsq(part.moved, target, cond=1e-12)[0]
        left += float(((target - part.moved @ pulls) ** 2).sum())
        whole += float((part.values**2).sum())
        found += pulls.T / (2.0 * gamma)
    blocks = np.repeat(view.space.categorical, view.widths)
    found[:, blocks] += (1.0 / np.repeat(view.widths, view.widths))[blocks]
    return Located(found, gamma, float(np.sqrt(left / whole)))


def _gamma(parts: list[Logs]) -> Floats | None:
    """The γ of all columns: what the lengths of rows explain and their columns do not."""
    above = below = 0.0
    for part in parts:
        basis = linalg.orth(part.moved)
        beyond = part.lengthened - basis @ (basis.T @ part.lengthened)
        above -= float((beyond @ part.values).sum())
        below += float(beyond @ beyond) * part.values.shape[1]
    gamma = above / below if below else 0.0
    return np.array([gamma]) if np.isfinite(gamma) and gamma > 0 else None


def _gammas(view: OneHot, parts: list[Logs]) -> Floats | None:
    """The γ of each column, of shape (width,).

    Where a column takes two values its square tells nothing: there representers are taken for rows, whose two values
    are 0 and 1, or −1 and 1, apart by as much as the logarithms say.
    """
    gammas, raw = np.full(view.width, np.nan), np.repeat(np.arange(len(view.widths)), view.widths)
    for part in parts:
        moves = np.flatnonzero(np.ptp(part.moved, axis=0) > 0.0)
        basis = linalg.orth(part.moved[:, moves], rcond=1e-12)
        beyond = part.squares[:, moves] - basis @ (basis.T @ part.squares[:, moves])
        told = np.linalg.norm(beyond, axis=0) > 1e-6 * np.linalg.norm(part.squares[:, moves], axis=0)
        solved = linalg.lstsq(beyond[:, told], -part.values.mean(axis=1), cond=1e-12)[0]
        gammas[moves[told]] = solved
        rest = part.values + (part.squares[:, moves[told]] @ solved)[:, None]
        pulls = linalg.lstsq(part.moved[:, moves], rest, cond=1e-12)[0]
        for column in np.unique(raw[moves[~told]]):
            block = pulls[~told & (raw[moves] == column)]
            apart = np.ptp(block, axis=0) if len(block) > 1 else np.abs(block[0])
            gammas[raw == column] = apart.max() / 2.0
    if not np.isfinite(gammas[~np.isnan(gammas)]).all() or not (gammas[~np.isnan(gammas)] > 0).all():
        return None
    return np.where(np.isnan(gammas), np.nanmedian(gammas), gammas)
