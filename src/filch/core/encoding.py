"""One-hot encoding with scaling, and back: the linear view of a feature space.

Numeric columns are scaled from their range to [−1, 1], each categorical column becomes a block of 0/1 columns.
An omitted or unknown value is 0 in all its columns, as in the services of [Tramèr16, §5.2].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from filch.core.features import Categorical, FeatureSpace, Rows


@dataclass(frozen=True)
class OneHot:
    """The encoded view of a feature space, of ``width`` columns.

    Parameters
    ----------
    space : FeatureSpace

    Examples
    --------
    >>> OneHot(FeatureSpace.box([0, 0], [4, 4])).encode([[0.0, 3.0]])
    array([[-1. ,  0.5]])
    """

    space: FeatureSpace

    @cached_property
    def widths(self) -> npt.NDArray[np.int64]:
        """The number of encoded columns of each raw column, of shape (d,)."""
        return np.where(self.space.categorical, self.space.sizes, 1)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """The first encoded column of each raw column, of shape (d,)."""
        return np.cumsum(self.widths) - self.widths

    @property
    def width(self) -> int:
        """The number of encoded columns: the paper's d."""
        return int(self.widths.sum())

    @property
    def free(self) -> int:
        """The dimension that complete raw rows span: each categorical block and each constant column loses one."""
        varies = self.space.high > self.space.low
        return int(np.where(self.space.categorical, self.widths - 1, varies).sum())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The encoded columns' names: ``age``, ``sex=f``, ``sex=m``."""
        return tuple(
            label
            for feature in self.space.features
            for label in (
                [f"{feature.name}={category}" for category in feature.categories]
                if isinstance(feature, Categorical)
                else [feature.name]
            )
        )

    @cached_property
    def centre(self) -> Rows:
        """The middle of each numeric range, of shape (d,)."""
        return (self.space.low + self.space.high) / 2

    @cached_property
    def scale(self) -> Rows:
        """Half of each numeric range (1 where it is a point), of shape (d,)."""
        half = (self.space.high - self.space.low) / 2
        return np.where(half > 0, half, 1.0)

    def encode(self, rows: npt.ArrayLike) -> Rows:
        """Encode coded rows of shape (n, d) as a matrix of shape (n, width)."""
        rows = np.asarray(rows, dtype=np.float64)
        numeric = ~self.space.categorical
        if numeric.all():  # nothing to pick or to place: one array, many times faster where columns are thousands
            plain = rows - self.centre
            plain /= self.scale
            plain[np.isnan(plain)] = 0.0
            return plain
        encoded = np.zeros((len(rows), self.width))
        scaled = (rows[:, numeric] - self.centre[numeric]) / self.scale[numeric]
        encoded[:, self.starts[numeric]] = np.where(np.isnan(scaled), 0.0, scaled)
        for column in np.flatnonzero(~numeric):
            codes = rows[:, column]
            (known,) = np.nonzero(codes >= 0)  # neither NaN nor −1
            encoded[known, self.starts[column] + codes[known].astype(np.int64)] = 1.0
        return encoded

    def decode(self, encoded: npt.ArrayLike) -> Rows:
        """Turn encoded rows of shape (n, width) back into coded rows; an all-zero block becomes NaN."""
        encoded = np.asarray(encoded, dtype=np.float64)
        rows = np.empty((len(encoded), len(self.space)))
        for column, (start, width) in enumerate(zip(self.starts, self.widths, strict=True)):
            block = encoded[:, start : start + width]
            if self.space.categorical[column]:
                rows[:, column] = np.where(block.any(axis=1), block.argmax(axis=1), np.nan)
            else:
                rows[:, column] = block[:, 0] * self.scale[column] + self.centre[column]
        return rows
