"""Rows for what saturated answers hide: searches for rows whose answer is not 0 or 1 at the oracle's resolution.

A saturated answer only says on which side of a boundary its row lies. Between two rows that saturate towards different
classes, bisection finds a row that does not; a numeric column is moved by ever smaller steps from such a row.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.design import Design
from filch.core.answers import Answers
from filch.core.attack import Ask, Search, lockstep
from filch.core.features import Rows
from filch.core.seeds import child

_HALVINGS = 50
_TRIES, _TRIED = 6, 8  # rounds of random rows, and rows a round


def moderate(answers: Answers, floor: float) -> npt.NDArray[np.bool_]:
    """Which answers carry every log-ratio: no probability is 0, 1 or below ``floor``. Of shape (n,)."""
    probabilities = answers.probabilities
    assert probabilities is not None
    lowest, highest = probabilities.min(axis=1), probabilities.max(axis=1)
    return np.asarray(~answers.refused & (lowest > floor) & (highest < 1.0))


@dataclass(frozen=True)
class Gentle:
    """Finds moderate rows that complete the rank of a design.

    Parameters
    ----------
    design : Design
    floor : float
        Probabilities must be above it.
    """

    design: Design
    floor: float

    def complete(self, answers: Answers, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Ask gentler rows until the moderate answers have full rank, or no search finds more."""
        good = yield from self.begin(answers, rng)
        if not len(good):
            return
        before = -1
        while before < self.design.rank(good.rows) < self.design.size:
            before = self.design.rank(good.rows)
            missing = self._unresolved(good)
            base = self.mildest(good)
            searches = {
                f"{column}={value}": self._resolve(
                    column, value, base, good, child(rng, "gentle", str(column), str(value))
                )
                for column, value in missing
            }
            found = yield from lockstep(searches, phase="gentler rows")
            good = Answers.concat([good, *(answer for answer in found.values() if answer is not None)])

    def begin(self, answers: Answers, rng: np.random.Generator) -> Generator[Ask, Answers, Answers]:
        """The moderate ones of the answers; if there is none, ask for some. Empty if no search finds any."""
        good = answers[moderate(answers, self.floor)] if len(answers) else answers
        if len(good):
            return good
        search = {"base": self._between(answers, None, child(rng, "base"))}
        found = (yield from lockstep(search, phase="gentler rows"))["base"]
        return good if found is None else found

    def mildest(self, good: Answers) -> Rows:
        """Of moderate answers, the row whose lowest probability is highest, of shape (d,)."""
        assert good.probabilities is not None
        row: Rows = good.rows[good.probabilities.min(axis=1).argmax()]
        return row

    def _unresolved(self, good: Answers) -> list[tuple[int, float]]:
        """List the columns and values of which no moderate row speaks."""
        space, missing = self.design.space, []
        for column in range(len(space)):
            seen = good.rows[:, column]
            if space.categorical[column]:
                codes = [float(c) for c in range(space.sizes[column]) if not (seen == c).any()]
                missing += [(column, code) for code in codes]
                if self.design.omission and not np.isnan(seen).any():
                    missing.append((column, np.nan))
            elif space.high[column] > space.low[column] and np.ptp(seen) == 0.0:
                missing.append((column, np.nan))
        if not missing:  # every value is seen, yet not independently: any numeric column may be what is confounded
            missing = [(int(c), np.nan) for c in np.flatnonzero(~space.categorical & (space.high > space.low))]
        return missing

    def _resolve(
        self, column: int, value: float, base: Rows, good: Answers, rng: np.random.Generator
    ) -> Search[Answers | None]:
        """Search for a moderate row that holds a value (or moves a numeric column), all else as in good rows."""
        space = self.design.space
        if space.categorical[column]:
            return (yield from self._held(column, value, base, good, rng))
        towards = space.high[column] if base[column] < self.design.view.centre[column] else space.low[column]
        smallest = towards
        for halving in range(_HALVINGS):
            row = base.copy()
            row[column] += (towards - base[column]) / 2.0**halving
            row = space.snap(row[None])[0]
            if row[column] == base[column]:
                break
            smallest = row[column]
            answer = yield row[None]
            assert answer is not None
            if moderate(answer, self.floor).all():
                return answer
        return (yield from self._held(column, smallest, base, good, rng))  # one step of a grid is too much

    def _held(
        self, column: int, value: float, base: Rows, good: Answers, rng: np.random.Generator
    ) -> Search[Answers | None]:
        first = base.copy()
        first[column] = value
        answers = yield first[None]
        assert answers is not None
        if moderate(answers, self.floor).all():
            return answers
        return (yield from self._between(answers, (column, value, good.rows), rng))

    def _between(
        self, answers: Answers, held: tuple[int, float, Rows] | None, rng: np.random.Generator
    ) -> Search[Answers | None]:
        """Try random rows until one is moderate or two saturate differently; then bisect between those two.

        ``held`` = (column, value, rows): only rows with this value are tried, all else drawn from the values in rows.
        """
        for _ in range(_TRIES):
            pair = _opposite(answers)
            if pair is not None:
                return (yield from self._bisect(*pair))
            tried = yield self._random(held, rng)
            assert tried is not None
            good = moderate(tried, self.floor)
            if good.any():
                return tried[good]
            answers = Answers.concat([answers, tried])
        return None

    def _random(self, held: tuple[int, float, Rows] | None, rng: np.random.Generator) -> Rows:
        rows = self.design.space.sample(_TRIED, rng)
        if held is not None:
            column, value, seen = held
            chosen = np.stack([rng.choice(seen[:, j], _TRIED) for j in range(seen.shape[1])], axis=1)
            rows = np.where(self.design.space.categorical, chosen, rows)  # unresolved categories stay out
            rows[:, column] = value
        return rows

    def _bisect(self, low: Rows, high: Rows, label: int) -> Search[Answers | None]:
        """Bisect from a row that saturates towards ``label`` to one that does not."""
        order = np.linspace(0.0, 1.0, len(low) + 2)[1:-1]  # where on the way each category changes
        start, end = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (start + end) / 2
            blend = np.where(
                self.design.space.categorical, np.where(middle > order, high, low), low + middle * (high - low)
            )
            answer = yield self.design.space.snap(blend[None])
            assert answer is not None and answer.labels is not None
            if moderate(answer, self.floor).all():
                return answer
            if answer.labels[0] == label:
                start = middle
            else:
                end = middle
        return None


def _opposite(answers: Answers) -> tuple[Rows, Rows, int] | None:
    labels = answers.labels
    if labels is None or not len(labels) or (labels == labels[0]).all():
        return None
    return answers.rows[0], answers.rows[int((labels != labels[0]).argmax())], int(labels[0])
