"""Requests in flight at once: each slot pulls a batch, and so pays for it, when it can send it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from filch.core.oracle import Batch, Reply
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
