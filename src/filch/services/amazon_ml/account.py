"""Who may ask the emulated Amazon Machine Learning, how often, and what it costs."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

from filch.errors import UsageError

PRICE = 0.10
"""Dollars for 1,000 real-time predictions [Tramèr16, Table 2]."""
RESERVATION = 0.001
"""Dollars an hour for each 10 MB of memory that an endpoint reserves."""


@dataclass(eq=False)
class AmazonAccount:
    """One user of the emulated service.

    Parameters
    ----------
    access_key : str
    secret_key : str, optional
        A random one by default.
    peak : float, default 200
        Predictions a second; what comes on top is refused (LimitExceededException).
    memory : int, default 10
        Megabytes that an endpoint reserves.

    Attributes
    ----------
    predictions : int
        Answered and charged so far.

    Raises
    ------
    UsageError
        Keys that are empty, or a number that is not above 0.

    Examples
    --------
    >>> account = AmazonAccount()
    >>> account.charge(), account.dollars(hours=2)
    (None, 0.0021)
    """

    access_key: str = "FILCHEMULATEDACCOUNT"
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)
    peak: float = 200.0
    memory: int = 10
    predictions: int = 0
    _tokens: float = 0.0
    _then: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if not self.access_key or not self.secret_key or "/" in self.access_key:
            raise UsageError("the emulated account needs an access key without '/' and a secret key")
        if not self.peak > 0 or not self.memory > 0:
            raise UsageError("peak and memory must be above 0")
        self._tokens = max(1.0, self.peak)

    def __reduce__(self) -> tuple[type[AmazonAccount], tuple[str, str, float, int]]:
        return AmazonAccount, (self.access_key, self.secret_key, self.peak, self.memory)

    def admits(self) -> bool:
        """Whether one more prediction is within the peak."""
        with self._lock:
            now = time.monotonic()
            most = max(1.0, self.peak)
            self._tokens = min(most, self._tokens + (now - (self._then or now)) * self.peak)
            self._then = now
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def charge(self) -> None:
        """Count one prediction."""
        with self._lock:
            self.predictions += 1

    def dollars(self, hours: float = 0.0) -> float:
        """What the predictions so far cost, and an endpoint that is there for so many hours."""
        return round(cost(self.predictions, hours, self.memory), 9)


def cost(predictions: int, hours: float = 0.0, memory: int = 10) -> float:
    """Dollars for real-time predictions, and for the endpoint's reserved memory (MB) by the hour.

    Examples
    --------
    >>> cost(1_000, hours=1)
    0.101
    """
    return predictions * PRICE / 1_000 + hours * RESERVATION * memory / 10
