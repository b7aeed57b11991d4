"""Calls to a service: in turn, and again where that may help, after paying for it again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from filch.errors import ServiceError

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 60.0  # seconds
_jitter = random.SystemRandom()  # moves requests in time only, never a query


class Failure(Exception):
    """A failed call: what to tell of it, and whether another may succeed.

    Parameters
    ----------
    error : ServiceError
    passing : bool
        Whether another call may succeed.
    after : float
        Seconds from now at the earliest.
    free : bool
        Whether it cost nothing, so that another is not paid again.
    """

    def __init__(self, error: ServiceError, *, passing: bool = False, after: float = 0.0, free: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.passing, self.after, self.free = error, passing, after, free


@dataclass(frozen=True, eq=False)
class Patience:
    """How often a call is tried, and how many there are a second.

    Parameters
    ----------
    attempts : int
        The most calls for one thing, at least 1.
    rate : float, optional
        The most calls a second.
    closing : threading.Event
        Once it is set nothing is tried again.
    """

    attempts: int
    rate: float | None = None
    closing: threading.Event = field(default_factory=threading.Event)
    _turn: list[float] = field(default_factory=lambda: [0.0])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, once: Callable[[], T], pay_again: Callable[[], bool] = lambda: True) -> T:
        """What a call gives back; it raises `Failure` where it fails.

        Raises
        ------
        ServiceError
            Of the last failure.
        """
        for attempt in range(1, self.attempts + 1):
            self._wait_for_turn()
            try:
                return once()
            except Failure as failure:
                if not failure.passing or attempt == self.attempts:
                    raise failure.error from failure.__cause__
                backoff = _FIRST_PAUSE * 2 ** (attempt - 1) * _jitter.uniform(0.5, 1.5)
                pause = min(max(backoff, failure.after), _LONGEST_PAUSE)
                if self.closing.wait(pause) or not (failure.free or pay_again()):
                    raise failure.error from failure.__cause__
        raise AssertionError("unreachable: attempts is at least 1")

    def _wait_for_turn(self) -> None:
        if not self.rate:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._turn[0])
            self._turn[0] = turn + 1 / self.rate
        self.closing.wait(turn - now)
