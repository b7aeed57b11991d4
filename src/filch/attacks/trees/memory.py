"""What the path-finding attacks on trees share: answers as ids, asked once each, and the precision of thresholds."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import OracleSpec
from filch.errors import UsageError

Ints = npt.NDArray[np.int64]
Asking = Generator[Rows | Also, Answers | None, Ints]
REFUSED = -1
"""The id of a row that was not answered."""


@dataclass(frozen=True)
class Precision:
    """How closely thresholds are searched.

    Parameters
    ----------
    epsilon : float
        Of every numeric feature; integers and stepped features are exact.
    relative : bool
        Whether ``epsilon`` is a share of each feature's range.
    per_feature : mapping of str to float
        Other values for some features, by name; absolute.
    """

    epsilon: float
    relative: bool = False
    per_feature: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(value > 0 for value in (self.epsilon, *self.per_feature.values())):
            raise UsageError("a precision must be above 0")

    def of(self, space: FeatureSpace, *, steps: bool = True) -> Rows:
        """The precision of each column, of shape (d,); of a stepped one its step, if ``steps``."""
        unknown = sorted(self.per_feature.keys() - set(space.names))
        if unknown:
            raise UsageError(f"a precision is given for {unknown[0]!r}, which is no feature")
        span = np.where(space.high > space.low, space.high - space.low, 1.0)
        wide = self.epsilon * span if self.relative else np.full(len(space), self.epsilon)
        for j, name in enumerate(space.names):
            wide[j] = self.per_feature.get(name, wide[j])
        return np.where((space.grid > 0) & ~space.categorical & steps, space.grid, wide)


@dataclass(eq=False)
class Memory:
    """Every answer so far. Answers that look alike in all that is revealed have one id.

    Parameters
    ----------
    spec : OracleSpec
    use_fields : bool
        Whether answers that name different next columns have different ids.
    """

    spec: OracleSpec
    use_fields: bool = True
    known: dict[bytes, int] = field(default_factory=dict)
    """The id of each row asked."""
    next_column: list[int] = field(default_factory=list)
    """Of each id: the column split next that the query lacks; −1 if none, or if ``fields`` is not revealed."""
    label: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    shares: list[Rows] = field(default_factory=list)
    following: dict[bytes, int] = field(default_factory=dict)
    """The column split next, by row, where ``fields`` is revealed."""
    plain: list[int] = field(default_factory=list)
    """Of each id: the first one that differs from it in no more than the column split next."""
    passed: bool = False
    """Whether a path was seen to go on below a split of an omitted column."""
    shows_fields: bool = False
    refused: int = 0
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _plain: dict[bytes, int] = field(default_factory=dict)

    def ask(self, rows: Rows) -> Asking:
        """The ids of rows, of shape (n,); only those not known yet are asked. `REFUSED` where there is no answer."""
        rows = np.ascontiguousarray(np.atleast_2d(rows)) + 0.0  # no −0
        if not rows.size:
            return np.empty(0, dtype=np.int64)
        names = [row.tobytes() for row in rows]
        new = {name: place for place, name in reversed(list(enumerate(names))) if name not in self.known}
        if new:
            answers = yield rows[sorted(new.values())]
            assert answers is not None
            self.learn(answers)
        return np.array([self.known.get(name, REFUSED) for name in names])

    def learn(self, answers: Answers) -> None:
        """Note answers; a row that was refused may be asked again."""
        self.refused += int(answers.refused.sum())
        given = answers.given
        if not len(given):
            return
        n, nothing = len(given), np.full(len(given), -1.0)
        following = nothing
        if given.fields is not None:
            self.shows_fields = True
            more = given.fields & np.isnan(given.rows)
            self.passed |= bool((more.sum(axis=1) > 1).any())
            following = np.where(more.any(axis=1), more.argmax(axis=1), -1).astype(np.float64)
        shown = [given.labels, given.value, given.node, given.confidence, following if self.use_fields else None]
        columns = [nothing if array is None else np.asarray(array, dtype=np.float64) for array in shown]
        shares = np.empty((n, 0)) if given.probabilities is None else given.probabilities
        whole = np.ascontiguousarray(np.column_stack([*columns, shares])) + 0.0
        for place, (row, key) in enumerate(zip(given.rows + 0.0, whole, strict=True)):
            name = key.tobytes()
            number = self._numbers.get(name)
            if number is None:
                number = self._numbers[name] = len(self.label)
                alike = np.concatenate([key[:4], key[5:]]).tobytes()
                self.plain.append(self._plain.setdefault(alike, number))
                self.label.append(int(columns[0][place]))
                self.value.append(float(columns[1][place]))
                self.confidence.append(float(columns[3][place]) if given.confidence is not None else float("nan"))
                self.next_column.append(int(following[place]))
                self.shares.append(shares[place])
            self.known[row.tobytes()] = number
            if self.shows_fields:
                self.following[row.tobytes()] = int(following[place])

    @property
    def ids(self) -> int:
        """How many different answers were seen."""
        return len(self.label)
