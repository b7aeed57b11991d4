"""What a kernel attack has heard: log-ratios of probabilities, how far they may be off, and a smooth fit to them."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from filch.attacks.doubts import resolution
from filch.attacks.kernels.fit import Fit, Frame, approximate, contrasts, interpolate
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.encoding import OneHot
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.kernel import KernelModel

Floats = npt.NDArray[np.float64]
EXACT = 1e-9
"""The total variation up to which an unrounded fit is one."""
_DOUBLE, _SINGLE = 2**-52, 2**-23
_ROWS = 4  # times the unknowns of the closest fit: equations that it rests on
_STARTS = (2.0, 8.0) * 5  # γ times the columns, where closest fits begin
_LEAST = 1e-6  # a fit that is none takes smaller probabilities for it


class Heard:
    """The answers of one attack, and the best fit to them so far."""

    def __init__(self, spec: OracleSpec, known: Answers) -> None:
        self.spec, self.view, self.outputs = spec, OneHot(spec.space), max(1, spec.n_classes - 1)
        self.frame = Frame(self.view)
        self.contrasts = contrasts(max(2, spec.n_classes))
        self.heard = known.given if known.probabilities is not None else Answers.none(len(spec.space))
        self.fit: Fit | None = None
        self.close: Fit | None = None

    def hear(self, ask: Ask, answers: Answers) -> None:
        """Note answers as they come."""
        if answers.probabilities is not None and ask.account == "attack":
            self.heard = Answers.concat([self.heard, answers.given])

    def ask(self, rows: Rows, phase: str) -> Generator[Ask, Answers, Floats]:
        """Log-ratios of rows, of shape (n, c − 1); NaN where an answer holds none."""
        if not len(rows):
            return np.empty((0, self.outputs))
        answers = yield Ask(rows, phase, snapshot=self.snapshot)
        z = np.full((len(rows), self.outputs), np.nan)
        if answers.probabilities is not None:
            good = ~answers.refused & _positive(answers)
            z[good] = self.logs(answers[good])
        return z

    def logs(self, answers: Answers) -> Floats:
        """Log-ratios of answers that hold them, of shape (n, c − 1)."""
        assert answers.probabilities is not None
        z: Floats = np.log(answers.probabilities) @ self.contrasts
        return z

    def equations(self) -> Answers:
        """The answers that carry every log-ratio."""
        return self.heard[_positive(self.heard)] if len(self.heard) else self.heard

    def unit(self) -> float:
        """How far a log-ratio may be off by rounding."""
        good = self.equations()
        if good.probabilities is None or not len(good):
            return _DOUBLE
        coarse = resolution(good, self.spec)
        if coarse > EXACT:
            return float(coarse / np.median(good.probabilities.min(axis=1)))
        return _SINGLE if (good.probabilities.astype(np.float32) == good.probabilities).all() else _DOUBLE

    def tolerance(self) -> float:
        """The misfit, or the total variation, up to which a fit is one."""
        return max(EXACT, 8 * self.unit())

    def snapshot(self) -> KernelModel | None:
        """The best model so far."""
        fit = self.fit or self.close or self.smooth()
        return None if fit is None else fit.model(self.spec.space, self.spec.classes or ())

    def clipped(self) -> tuple[Floats, Floats] | None:
        """Encoded rows of all answers, and log-ratios that make do with what is no probability; None without any."""
        shown = self.heard.probabilities
        if shown is None or not np.isfinite(shown).all(axis=1).any():
            return None
        rows = np.isfinite(shown).all(axis=1)
        z = np.log(np.clip(shown[rows], _LEAST, None)) @ self.contrasts
        return self.view.encode(self.heard.rows[rows]), z

    def smooth(self) -> Fit | None:
        """A fit to all answers with the rows asked as representers."""
        told = self.clipped()
        return None if told is None else interpolate(*told)

    def settle(self, count: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Fit few representers to all answers and some more: what is left where those of the target cannot be told."""
        space, width = self.spec.space, self.view.width
        unknowns = count * (self.view.free + self.outputs)
        rows = space.sample(math.ceil(_ROWS * unknowns / self.outputs), child(rng, "rows"))
        yield Ask(rows, "closest fit", snapshot=self.snapshot)
        told = self.clipped()
        if told is None:
            return
        starts = child(rng, "starts")
        begun = [(self.view.encode(space.sample(count, starts)), start / width) for start in _STARTS]
        free = [(self.frame.reduce(start), gamma) for start, gamma in begun]
        self.close = self.frame.restore(approximate(self.frame.reduce(told[0]), told[1], free))


def _positive(answers: Answers) -> npt.NDArray[np.bool_]:
    shown = answers.probabilities
    assert shown is not None
    return np.asarray((shown > 0.0).all(axis=1) & np.isfinite(shown).all(axis=1))
