"""Predictions a second of filch's Amazon ML oracle, driver included, against a bare boto3 loop over the same records.

::

    python -m benchmarks --only amazon
    python -m benchmarks.amazon --rows 2000 --concurrency 8    # both against an emulated Amazon ML in another process

A real-time prediction is a request of one row. Both loops sign with the same keys, have as many requests in flight and
as many connections; the bare loop has its records ready and keeps only the scores. Answers must be the same, in order.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from filch.core.drive import Recital, drive
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.models.binned import BinnedLinear
from filch.services.amazon_ml.account import AmazonAccount
from filch.services.amazon_ml.oracle import AmazonOracle, connect_amazon, parsed
from filch.services.amazon_ml.records import write_record
from filch.services.amazon_ml.server import serving_amazon

GOAL = 0.80  # of the bare loop's predictions a second


def filch_loop(oracle: AmazonOracle, rows: np.ndarray) -> np.ndarray:
    run = drive(oracle, Recital(rows), budget=len(rows), keep_answers=True)
    assert run.ledger.paid == run.ledger.sent == len(rows)
    assert run.answers is not None and run.answers.probabilities is not None
    assert np.array_equal(run.answers.rows, rows)
    return run.answers.probabilities[:, 1]


def bare_loop(client: Any, model: str, url: str, records: list[dict[str, str]], concurrency: int) -> np.ndarray:
    def predict(record: dict[str, str]) -> float:
        told = client.predict(MLModelId=model, Record=record, PredictEndpoint=url)
        (score,) = told["Prediction"]["predictedScores"].values()
        return float(score)

    with ThreadPoolExecutor(concurrency) as pool:
        return np.array(list(pool.map(predict, records)))


def timed(action: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Seconds, processor seconds of this process, and what was answered."""
    started, worked = time.perf_counter(), time.process_time()
    found = action()
    return time.perf_counter() - started, time.process_time() - worked, found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Alternate the two loops, so that a busy moment of the machine harms both."""
    import boto3
    from botocore.config import Config

    numbers = tuple(Numeric(f"x{i}", -1.0, 1.0) for i in range(options.columns - 2))
    words = tuple(Categorical(f"job{i}", tuple("abcdef")) for i in range(2))
    space, rng = FeatureSpace((*numbers, *words)), np.random.default_rng(0)
    frame = space.decode(space.sample(1_000, rng))
    model = BinnedLinear(10).fit(frame, np.where(frame["x0"] + frame["x1"] > 0, "yes", "no"))
    account = AmazonAccount(peak=1e9)
    rows = space.sample(options.rows, rng)
    records = [write_record(row, space) for row in rows.tolist()]
    pairs, work = list[tuple[float, float]](), list[tuple[float, float]]()
    with serving_amazon(model, space, account=account) as address:
        host, name = parsed(address)
        url, many = f"http://{host}", options.concurrency
        settings = Config(retries={"total_max_attempts": 1}, max_pool_connections=many)
        keys = {"aws_access_key_id": account.access_key, "aws_secret_access_key": account.secret_key}
        session = boto3.session.Session(region_name="us-east-1")
        client = session.client("machinelearning", endpoint_url=url, config=settings, **keys)
        with connect_amazon(address, space=space, concurrency=many, account=account) as oracle:
            bare_loop(client, name, url, records[: 4 * many], many)  # warm the server
            for repeat in range(options.repeats):
                turns: dict[str, Callable[[], np.ndarray]] = {
                    "bare": lambda: bare_loop(client, name, url, records, many),
                    "ours": lambda: filch_loop(oracle, rows),
                }
                order = list(turns) if repeat % 2 == 0 else list(turns)[::-1]
                found = {who: timed(turns[who]) for who in order}
                assert np.array_equal(found["ours"][2], found["bare"][2])  # the same answers, in their order
                pairs.append((len(rows) / found["ours"][0], len(rows) / found["bare"][0]))
                work.append((found["ours"][1] / len(rows), found["bare"][1] / len(rows)))
    shares = [ours / bare for ours, bare in pairs]
    return {
        "rows": options.rows,
        "columns": len(space),
        "concurrency": options.concurrency,
        "repeats": options.repeats,
        "filch_rows_per_second": statistics.median(ours for ours, _ in pairs),
        "bare_rows_per_second": statistics.median(bare for _, bare in pairs),
        "filch_cpu_ms_per_row": 1_000 * statistics.median(ours for ours, _ in work),
        "bare_cpu_ms_per_row": 1_000 * statistics.median(bare for _, bare in work),
        "share_median": statistics.median(shares),
        "share_worst": min(shares),
        "goal": GOAL,
    }


def run(quick: bool) -> tuple[list[dict[str, object]], Table]:
    """Measure against the emulated Amazon ML."""
    options = _options(["--rows", "200", "--repeats", "3"] if quick else [])
    found = measure(options)
    table = Table(title="Amazon ML through boto3, one row a request", caption=_size(found))
    for heading in ("", "rows/s", "CPU ms a row, client", "share, median", f"worst of {options.repeats}"):
        table.add_column(heading, justify="right" if heading else "left")
    ours, bare = _speed(found, "filch"), _speed(found, "bare")
    table.add_row("filch", *ours, f"{found['share_median']:.0%}", f"{found['share_worst']:.0%}")
    table.add_row("bare boto3", *bare)
    return [found], table


def main() -> None:
    """Measure as the command line says."""
    options = _options(None)
    found = measure(options)
    print(_size(found))
    for label, who in (("filch", "filch"), ("bare boto3", "bare")):
        speed, work = _speed(found, who)
        print(f"{label:<11}{speed:>9} rows/s {work:>8} ms of CPU a row, client")
    print(f"share      median {found['share_median']:.0%}, worst of {options.repeats} {found['share_worst']:.0%}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _speed(found: dict[str, Any], who: str) -> tuple[str, str]:
    return f"{found[f'{who}_rows_per_second']:,.0f}", f"{found[f'{who}_cpu_ms_per_row']:.2f}"


def _size(found: dict[str, Any]) -> str:
    return f"{found['rows']:,} rows × {found['columns']} columns, one a request, {found['concurrency']} at once"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=10, help="two of them categories")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
