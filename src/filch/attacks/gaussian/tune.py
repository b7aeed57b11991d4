"""Which kernel makes labels likeliest: γ, the noise, the bias and the columns' scales [RasmussenWilliams06, §5.4]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import optimize

from filch.attacks.gaussian.posterior import Kernel, Posterior
from filch.core.encoding import OneHot

Floats = npt.NDArray[np.float64]
_GRID = 2.0 ** np.arange(-5, 4)  # of γ, in units of one over the mean squared distance
_APART = 0.25  # by how much the logarithms of columns' scales differ, as far as is known before
_NOISE = 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0  # variances that are tried


def starts(view: OneHot, degrees: Sequence[int | None], uniform: Floats) -> list[list[Kernel]]:
    """The kernels to begin with: of each degree and in each view of the columns one for each γ of a grid.

    A view scales each range to [−1, 1], or leaves numbers in their units. ``uniform`` are encoded uniform rows, (n,
    width).
    """
    own = np.where(np.repeat(view.space.categorical, view.widths), 1.0, np.repeat(view.scale, view.widths))
    grids = []
    for scale in [None] if np.ptp(own) <= 1e-9 * own.max() else [None, own]:
        scaled = uniform if scale is None else uniform * scale
        apart, length = 2.0 * float(scaled.var(axis=0).sum()), float((scaled**2).sum(axis=1).mean())
        for degree in degrees:
            gammas = _GRID / (apart if degree is None else length)
            grids.append([Kernel(float(g), degree=degree, scale=scale, typical=length) for g in gammas])
    return grids


def afresh(found: Posterior, rows: Floats, signs: Floats, uniform: Floats) -> Posterior:
    """Weigh the labels anew, with those of further rows, and look at the whole grid of γ again, without noise.

    Rows that other kernels chose, or few of them, may have led γ and the noise to where small steps do not come back
    from.
    """
    kernel = found.kernel
    scaled = uniform if kernel.scale is None else uniform * kernel.scale
    unit = 2.0 * float(scaled.var(axis=0).sum()) if kernel.degree is None else kernel.typical
    others = [replace(kernel, gamma=float(gamma / unit), noise=_NOISE[0]) for gamma in _GRID[::2]]
    tried = [found.again(rows, signs), *(Posterior.of(other, rows, signs) for other in others)]
    return max(tried, key=lambda one: one.evidence)


def tuned(found: Posterior, signs: Floats, groups: npt.NDArray[np.int64], evaluations: int = 12) -> Posterior:
    """Move γ, the bias and the columns' scales to where labels are likeliest, held back by a prior.

    Parameters
    ----------
    found : Posterior
    signs : (n,)
    groups : (width,) int
        Encoded columns of one group have one scale.
    evaluations : int
    """
    kernel, count = found.kernel, int(groups.max()) + 1
    scale = np.ones(len(groups)) if kernel.scale is None else kernel.scale
    best, sites = (found.evidence, found), found.sites

    def value(at: Floats) -> tuple[float, Floats]:
        nonlocal best, sites
        own = at[2:] - at[2:].mean()
        moved = replace(
            kernel,
            gamma=kernel.gamma * np.exp(2.0 * at[0]),
            bias=kernel.bias * np.exp(at[1]),
            scale=scale * np.exp(own)[groups],
        )
        other = Posterior.of(moved, found.rows, signs, sites)
        sites = other.sites
        columns, together, bias = other.slopes()
        each = np.bincount(groups, weights=columns, minlength=count)
        each = each - each.mean() - own / _APART**2
        lifted = np.log(moved.bias)
        score = other.evidence - 0.5 * float(own @ own) / _APART**2 - 0.5 * float(lifted**2 + at[0] ** 2)
        if score > best[0]:
            best = score, other
        return -score, -np.array([together - at[0], bias - lifted, *each])

    optimize.minimize(value, np.zeros(count + 2), jac=True, method="L-BFGS-B", options={"maxfun": evaluations})
    return best[1]


def likeliest(found: Posterior, signs: Floats, *, steps: int = 1, ratio: float = 2.0**0.5) -> Posterior:
    """Move γ and the noise, in turn, while the evidence grows; at most ``steps`` each way."""
    for factor in (ratio, 1 / ratio):
        for _ in range(steps):
            other = found.under(replace(found.kernel, gamma=found.kernel.gamma * factor), signs)
            if not other.evidence > found.evidence:
                break
            found = other
    for way in (1, -1):
        for _ in range(steps):
            place = _NOISE.index(found.kernel.noise) + way
            if not 0 <= place < len(_NOISE):
                break
            other = found.under(replace(found.kernel, noise=_NOISE[place]), signs)
            if not other.evidence > found.evidence:
                break
            found = other
    return found
