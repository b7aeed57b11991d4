"""One BLAS thread: on matrices of a few hundred columns several wait for each other, and take many times as long.

Sums then also round alike on any number of cores.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import TypeVar

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.errors import BudgetSpent

T = TypeVar("T")


def one_thread() -> AbstractContextManager[object]:
    """While it is entered, BLAS runs on one thread.

    Examples
    --------
    >>> import numpy as np
    >>> with one_thread():
    ...     float((np.ones((2, 2)) @ np.ones(2)).sum())
    4.0
    """
    limit: AbstractContextManager[object] = _controller().limit(limits=1)
    return limit


def on_one_thread(steps: Generator[Ask, Answers, T]) -> Generator[Ask, Answers, T]:
    """Pass asks and answers on; what is computed in between runs on one thread, the target and snapshots do not."""
    answers: Answers | BudgetSpent | None = None
    while True:
        with one_thread():
            try:
                if isinstance(answers, BudgetSpent):
                    ask = steps.throw(answers)
                else:
                    ask = next(steps) if answers is None else steps.send(answers)
            except StopIteration as stop:
                found: T = stop.value
                return found
        try:
            answers = yield ask
        except BudgetSpent as spent:
            answers = spent


@functools.cache
def _controller() -> ThreadpoolController:
    """The libraries that are loaded; to look for them takes milliseconds."""
    return ThreadpoolController()
