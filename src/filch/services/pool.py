"""Requests in flight at once: each slot pulls a batch, and so pays for it, when it can send it."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Self

from filch.core.oracle import Batch, OracleSpec, Reply
from filch.errors import UsageError


def answered(
    batches: Iterator[Batch],
    ask: Callable[[Batch], Reply],
    pool: ThreadPoolExecutor,
    concurrency: int,
    closing: threading.Event,
) -> Iterator[Reply]:
    """Ask batches, ``concurrency`` at once, and yield replies as they come.

    A failure ends the iteration, once the requests in flight have been answered and yielded.

    Parameters
    ----------
    batches : iterator of Batch
    ask : callable
        Asks one batch; called from threads of the pool.
    pool : ThreadPoolExecutor
        Of at least ``concurrency`` threads.
    concurrency : int
    closing : threading.Event
        Set when the oracle is closed, and set here on an interrupt: no further attempts.

    Raises
    ------
    UsageError
        The oracle is closed.
    """
    if closing.is_set():
        raise UsageError("this oracle is closed: connect anew")
    replies: SimpleQueue[Reply | BaseException | None] = SimpleQueue()
    pulling, stop = threading.Lock(), threading.Event()

    def work() -> None:
        # Each slot pulls for itself: a request waits for no other thread before it is on the wire.
        try:
            while not stop.is_set():
                with pulling:
                    batch = None if stop.is_set() else next(batches, None)
                if batch is None:
                    break
                replies.put(ask(batch))
        except BaseException as error:
            stop.set()
            replies.put(error)
        finally:
            replies.put(None)

    failure: BaseException | None = None
    working = concurrency
    try:
        for _slot in range(concurrency):
            pool.submit(work)
        while working:
            reply = replies.get()
            if isinstance(reply, Reply):
                yield reply
            elif reply is None:
                working -= 1
            else:
                failure = failure or reply
    except KeyboardInterrupt:
        closing.set()  # no further attempts
        raise
    finally:
        stop.set()
    if failure is not None:
        raise failure


class PooledOracle(ABC):
    """An oracle over a service, with requests in flight at once. Use as a context manager, or `close` it when done.

    Parameters
    ----------
    spec : OracleSpec
    concurrency : int
        Requests in flight at once, at most.
    closing : threading.Event
        Set when the oracle is closed: no further attempts.
    authorized_by : str or None
    release : callable, optional
        Gives up what the oracle holds besides; called once, when it is closed or forgotten.

    Attributes
    ----------
    spec : OracleSpec
    authorized_by : str or None
        Who authorized the audit of a remote host: for the report.
    """

    local = False

    def __init__(
        self,
        spec: OracleSpec,
        concurrency: int,
        closing: threading.Event,
        authorized_by: str | None = None,
        release: Callable[[], None] | None = None,
    ) -> None:
        self.spec, self.authorized_by = spec, authorized_by
        self._concurrency, self._closing = concurrency, closing
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="filch")
        self.close = weakref.finalize(self, _close, self._pool, closing, release)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def fingerprint(self) -> str:
        """Name the target; no secret."""

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer batches as requests complete.

        What is still refused for its rate after all attempts comes back ``refused``. Any other failure ends the
        iteration, once the requests in flight have been answered and yielded.

        Raises
        ------
        Unreachable, Rejected, BadAnswer
        UsageError
            The oracle is closed.
        """
        return answered(batches, self._ask, self._pool, self._concurrency, self._closing)

    @abstractmethod
    def _ask(self, batch: Batch) -> Reply:
        """Ask one batch; called from threads of the pool."""


def _close(pool: ThreadPoolExecutor, closing: threading.Event, release: Callable[[], None] | None) -> None:
    closing.set()
    pool.shutdown(wait=False, cancel_futures=True)
    if release is not None:
        release()
