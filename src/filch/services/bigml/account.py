"""Who may ask the emulated BigML, and what is left to pay with."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from filch.errors import UsageError


@dataclass(eq=False)
class Account:
    """One user of the emulated service.

    Parameters
    ----------
    username : str, default "filch"
    api_key : str, optional
        A random one by default.
    credits : float, optional
        What predictions are paid with; without limit by default.
    price : float, default 0
        Credits that a prediction costs.

    Raises
    ------
    UsageError
        A name or key that is empty, or a negative amount.

    Examples
    --------
    >>> account = Account(credits=1, price=0.5)
    >>> [account.pay() for _ in range(3)], account.credits
    ([True, True, False], 0.0)
    """

    username: str = "filch"
    api_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    credits: float | None = None
    price: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if not self.username or not self.api_key:
            raise UsageError("the emulated account needs a username and an api_key that are not empty")
        if self.price < 0 or (self.credits is not None and self.credits < 0):
            raise UsageError("credits and the price of a prediction must be at least 0")

    def __reduce__(self) -> tuple[type[Account], tuple[str, str, float | None, float]]:
        return Account, (self.username, self.api_key, self.credits, self.price)

    def admits(self, query: Mapping[str, str]) -> bool:
        """Whether a request's query string names the user and the key."""
        pairs = ((query.get("username", ""), self.username), (query.get("api_key", ""), self.api_key))
        return all([hmac.compare_digest(given.encode(), known.encode()) for given, known in pairs])

    def pay(self) -> bool:
        """Pay for one prediction; False if the credits do not reach."""
        with self._lock:
            if self.credits is None:
                return True
            if self.credits < self.price:
                return False
            self.credits = round(self.credits - self.price, 9)
            return True
