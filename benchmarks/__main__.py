"""Run the benchmarks: print their tables, and write their rows as JSON into ``out/bench/``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import scipy
import sklearn
from rich.console import Console

import filch
from benchmarks import amazon, extraction, http_client, memory, overhead, trees
from filch.errors import DataError

OUT = Path("out/bench")
PARTS = ("extraction", "overhead", "memory", "http", "amazon", "trees")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data sets, one seed, few rounds: a minute in all")
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part only (may be given again)")
    chosen = parser.parse_args()
    console, notes = Console(width=200), Console(stderr=True)
    OUT.mkdir(parents=True, exist_ok=True)

    def told(step: str) -> None:
        notes.print(step, style="dim", highlight=False)

    try:
        _all(chosen.only or PARTS, chosen.quick, console, told)
    except DataError as error:
        sys.exit(f"error: {error}")


def _all(parts: Sequence[str], quick: bool, console: Console, told: Callable[[str], None]) -> None:
    for part in parts:
        for name, rows, table in _run(part, quick, told):
            console.print(table)
            path = OUT / f"{name}.json"
            path.write_text(json.dumps({"machine": _machine(quick), "rows": rows}, indent=2) + "\n")
            told(f"written to {path}")


def _run(part: str, quick: bool, told: Callable[[str], None]) -> Iterator[tuple[str, list[dict[str, object]], Any]]:
    if part == "extraction":
        yield from extraction.run(quick, told)
    else:
        others = {"overhead": overhead, "memory": memory, "http": http_client, "amazon": amazon, "trees": trees}
        module = others[part]
        told(f"{part} …")
        yield (part, *module.run(quick))


def _machine(quick: bool) -> dict[str, object]:
    """What the figures were measured on; the load says whether it was busy with other things."""
    return {
        "quick": quick,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "filch": filch.__version__,
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "system": platform.platform(terse=True),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
