"""Rows a second of filch's HTTP client, driver included, against a bare httpx loop that sends the same bodies.

::

    python -m benchmarks --only http                # against MLServer, in an environment of its own
    python -m benchmarks.http_client                # against filch's own server
    python -m benchmarks.http_client --mlserver     # against MLServer, in an environment of its own
    python -m benchmarks.http_client http://127.0.0.1:8080/v2/models/credit/infer --columns 20 --classes 0,1

The bare loop has its bodies ready, keeps its connections, and reads each response without looking at it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from filch.core.drive import Recital, drive
from filch.core.features import FeatureSpace
from filch.services.client import HttpOracle, connect
from filch.services.dialects import by_name
from filch.services.server import serving

GOAL = 0.80  # of the bare loop's rows a second


def filch_loop(oracle: HttpOracle, rows: np.ndarray) -> None:
    run = drive(oracle, Recital(rows), budget=len(rows))
    assert run.ledger.paid == len(rows)


def bare_loop(client: httpx.Client, url: str, bodies: list[bytes], concurrency: int) -> None:
    def post(body: bytes) -> int:
        return client.post(url, content=body).status_code

    with ThreadPoolExecutor(concurrency) as pool:
        assert set(pool.map(post, bodies)) == {200}


def seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure(url: str, space: FeatureSpace, classes: tuple[Any, ...], options: argparse.Namespace) -> dict[str, Any]:
    """Alternate the two loops, so that a busy moment of the machine harms both."""
    rows = space.sample(options.rows, np.random.default_rng(0))
    known = {"space": space, "classes": classes, "max_batch": options.batch, "concurrency": options.concurrency}
    pairs = []
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}  # as filch asks on loopback
    limits = httpx.Limits(max_connections=options.concurrency)
    with (
        connect(url, dialect=options.dialect, **known) as oracle,
        httpx.Client(headers=headers, limits=limits, trust_env=False, timeout=60) as client,
    ):
        dialect = by_name(options.dialect)
        parts = [rows[start : start + options.batch] for start in range(0, len(rows), options.batch)]
        bodies = [dialect.encode_rows(part, oracle.spec) for part in parts]
        bare_loop(client, url, bodies[: options.concurrency], options.concurrency)  # warm the server
        for _repeat in range(options.repeats):
            bare = seconds(lambda: bare_loop(client, url, bodies, options.concurrency))
            ours = seconds(lambda: filch_loop(oracle, rows))
            pairs.append((len(rows) / ours, len(rows) / bare))
    shares = [ours / bare for ours, bare in pairs]
    return {
        "rows": options.rows,
        "columns": len(space),
        "batch": options.batch,
        "concurrency": options.concurrency,
        "dialect": options.dialect,
        "filch_rows_per_second": statistics.median(ours for ours, _ in pairs),
        "bare_rows_per_second": statistics.median(bare for _, bare in pairs),
        "share_median": statistics.median(shares),
        "share_worst": min(shares),
        "goal": GOAL,
    }


def run(quick: bool) -> tuple[list[dict[str, object]], Table]:
    """Measure against MLServer (quick: against filch's own server, which need not be installed)."""
    options = _options([] if quick else ["--mlserver"])
    found = _found(options)
    table = Table(title=f"HTTP client, against {'filch serve' if quick else 'MLServer'}", caption=_size(found))
    for heading in ("filch, rows/s", "bare httpx, rows/s", "share, median", f"worst of {options.repeats}"):
        table.add_column(heading, justify="right")
    speeds = (f"{found[f'{who}_rows_per_second']:,.0f}" for who in ("filch", "bare"))
    table.add_row(*speeds, f"{found['share_median']:.0%}", f"{found['share_worst']:.0%}")
    return [{"server": "filch" if quick else "mlserver", **found}], table


def main() -> None:
    """Measure as the command line says."""
    options = _options(None)
    found = _found(options)
    print(_size(found))
    print(f"filch client   {found['filch_rows_per_second']:>12,.0f} rows/s")
    print(f"bare httpx     {found['bare_rows_per_second']:>12,.0f} rows/s")
    print(f"share          median {found['share_median']:.0%}, worst of {options.repeats} {found['share_worst']:.0%}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _size(found: dict[str, Any]) -> str:
    size = f"{found['rows']:,} rows × {found['columns']} columns in batches of {found['batch']}"
    return f"{size}, {found['concurrency']} at once"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="a numeric model's address; filch's own server if left out")
    parser.add_argument("--mlserver", action="store_true", help="build and start an MLServer (sets --columns to 4)")
    parser.add_argument("--dialect", default="kserve-v2")
    parser.add_argument("--classes", default="0,1,2", help="class numbers of the model at URL")
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    if options.mlserver:
        options.columns = 4
    return options


def _found(options: argparse.Namespace) -> dict[str, Any]:
    """Start what is to be measured, and measure it."""
    space = FeatureSpace.box([-1.0] * options.columns, [1.0] * options.columns)
    classes = tuple(int(name) for name in options.classes.split(","))
    with contextlib.ExitStack() as stack:
        url = options.url
        if options.mlserver:
            from tests.servers.environments import mlserver_running

            folder = stack.enter_context(tempfile.TemporaryDirectory())
            base, _ = stack.enter_context(mlserver_running(Path(folder)))
            url = f"{base}/v2/models/numbers/infer"
        elif url is None:
            X = space.sample(1000, np.random.default_rng(1))
            labels = np.digitize(X[:, 0], np.linspace(-1, 1, len(classes) + 1)[1:-1])
            model = LogisticRegression().fit(X, np.array(classes)[labels])
            url = stack.enter_context(serving(model, space, dialect=options.dialect, max_batch=options.batch))
        return measure(url, space, classes, options)


if __name__ == "__main__":
    main()
