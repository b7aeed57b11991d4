"""What the checks share: oracles in disguise, and what answers must be for an oracle's public facts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np

from filch.core.answers import Answers
from filch.core.features import Rows
from filch.core.oracle import Batch, Oracle, OracleSpec, Reply


def require(condition: object, message: str) -> None:
    """Raise an `AssertionError` with a message, also where Python leaves assert statements out."""
    if not condition:
        raise AssertionError(message)


def named(check: Callable[..., None], *arguments: Any) -> None:
    """Run a check; its name comes first in what it raises."""
    try:
        check(*arguments)
    except AssertionError as failure:
        raise AssertionError(f"{check.__name__}: {failure}") from failure


class Wrapped:
    """An oracle around another one that shows nothing of it but its public facts."""

    local = True

    def __init__(self, oracle: Oracle, *, max_batch: int | None = None) -> None:
        self.spec = replace(oracle.spec, max_batch=max_batch) if max_batch else oracle.spec
        self._answer, self._fingerprint = oracle.answer, oracle.fingerprint
        self.asked: list[Rows] = []

    def fingerprint(self) -> str:
        """That of the other oracle."""
        return self._fingerprint()

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer through the other oracle, and remember the rows."""

        def told() -> Iterator[Batch]:
            for batch in batches:
                self.asked.append(batch.rows)
                yield batch

        yield from self._answer(told())


class OutOfOrder(Wrapped):
    """Replies in the reverse order of the batches."""

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer all batches, the last one first."""
        yield from reversed(list(super().answer(batches)))


class Refusing(Wrapped):
    """Refuses a share of all rows, always the same ones; what their other entries say is nonsense."""

    def __init__(self, oracle: Oracle, share: float) -> None:
        super().__init__(oracle)
        self.share = share

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer, and refuse."""
        for reply in super().answer(batches):
            rows = reply.answers.rows
            marks = [hashlib.sha256(row.tobytes()).digest()[0] < 256 * self.share for row in rows]
            refused = np.array(marks, dtype=bool)
            arrays = {name: array.copy() for name, array in reply.answers.arrays().items()}
            for name in arrays.keys() - {"rows", "refused"}:
                arrays[name][refused] = np.nan if arrays[name].dtype.kind == "f" else 0
            yield Reply(reply.batch, Answers(**{**arrays, "refused": refused}))


class Flipping(Wrapped):
    """Flips the labels of a share of all rows, always the same ones; of several classes, to the next one."""

    def __init__(self, oracle: Oracle, share: float, seed: int = 0) -> None:
        super().__init__(oracle)
        self.share, self.key = share, seed.to_bytes(8, "little")

    def fingerprint(self) -> str:
        """That of the other oracle, and which rows are flipped."""
        return f"{super().fingerprint()} flipped {self.share} {self.key.hex()}"

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer labels, and flip."""
        for reply in super().answer(batches):
            answers = reply.answers
            require(answers.labels is not None, "there are no labels to flip")
            marks = [hashlib.blake2b(row.tobytes(), key=self.key, digest_size=4).digest() for row in answers.rows]
            flip = np.array([int.from_bytes(mark) < 2**32 * self.share for mark in marks], dtype=np.int64)
            labels = (np.asarray(answers.labels) + flip) % self.spec.n_classes
            yield Reply(reply.batch, Answers(answers.rows, labels=labels, refused=answers.refused))


def same(a: Answers, b: Answers) -> bool:
    """Whether two sets of answers are equal, bit for bit."""
    x, y = a.arrays(), b.arrays()
    return x.keys() == y.keys() and all(np.array_equal(x[n], y[n], equal_nan=x[n].dtype.kind == "f") for n in x)


def require_consistent(answers: Answers, spec: OracleSpec) -> None:
    """Require that answers show what an oracle's public facts say, and nothing else."""
    given, level = answers.given, spec.reveal.level
    for name, array in answers.arrays().items():
        require(not array.flags.writeable, f"{name} can be written to")
    if spec.classes is not None:
        require(given.labels is not None, "a classifier's answers hold no labels")
        labels = np.asarray(given.labels)
        require(((labels >= 0) & (labels < spec.n_classes)).all(), "a label is no index into spec.classes")
    require((given.probabilities is not None) == spec.reveal.shows_probabilities, f"probabilities at reveal {level!r}")
    require((given.scores is not None) == (level == "scores"), f"scores at reveal {level!r}")
    require((given.node is not None) == (level == "node"), f"node ids at reveal {level!r}")
    require((given.confidence is not None) == (level == "confidence"), f"a confidence at reveal {level!r}")
    value = spec.classes is None and level in ("value", "node", "confidence")
    require((given.value is not None) == value, f"a value at reveal {level!r}")
    for name in ("probabilities", "value", "scores", "confidence"):
        array = getattr(given, name)
        if array is not None and spec.decimals is not None:
            require(np.array_equal(np.round(array, spec.decimals), array, equal_nan=True), f"{name}: too many decimals")
    if given.probabilities is not None:
        _require_probabilities(given.probabilities, spec)


def _require_probabilities(shown: Rows, spec: OracleSpec) -> None:
    c, k = spec.n_classes, spec.reveal.k
    require(shown.shape[1] == c, f"{shown.shape[1]} probabilities for {c} classes")
    visible = c if k is None else min(k, c)
    require((np.isfinite(shown).sum(axis=1) == visible).all(), f"an answer does not show {visible} probabilities")
    require(((np.nan_to_num(shown) >= 0) & (np.nan_to_num(shown) <= 1)).all(), "a probability outside [0, 1]")
    slack = c * (1e-6 if spec.decimals is None else 0.5 * 10.0**-spec.decimals + 1e-6)
    total = np.nansum(shown, axis=1)
    require((total <= 1 + slack).all(), "probabilities that sum to more than 1")
    require(visible < c or (total >= 1 - slack).all(), "probabilities that sum to less than 1")


def require_frozen_dataclass(thing: object) -> None:
    """Require that a thing is a frozen dataclass: hyper-parameters and nothing else."""
    kind = type(thing)
    require(is_dataclass(kind), f"{kind.__name__} is no dataclass")
    require(kind.__dataclass_params__.frozen, f"{kind.__name__} is not frozen")  # type: ignore[attr-defined]
    extra = vars(thing).keys() - kind.__dataclass_fields__.keys()  # type: ignore[attr-defined]
    require(not extra, f"{kind.__name__} holds state beside its fields: {', '.join(sorted(extra))}")
