"""Countermeasures, one a file, and how a text names them: ``rounding:2``, ``labels``, ``top-2``.

The same guard hardens an oracle in this process (`filch.core.oracle.guarded`), a served model, and the plan of an
audit. ``ModelOracle(reveal=, decimals=)`` is short for the ones here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from filch.core.oracle import Guard
from filch.errors import UsageError
from filch.guards.labels_only import LabelsOnly
from filch.guards.rounding import Rounding
from filch.guards.top_k import TopK

__all__ = ["LabelsOnly", "Rounding", "TopK", "parse"]

_GUARDS: Mapping[str, tuple[str, Callable[..., Guard]]] = {
    "rounding:DECIMALS": (r"rounding:(\d+)", lambda decimals: Rounding(int(decimals))),
    "labels": (r"labels", LabelsOnly),
    "top-K": (r"top-(\d+)", lambda k: TopK(int(k))),
}


def parse(text: str) -> Guard:
    """Make a guard from a text.

    Parameters
    ----------
    text : str
        ``rounding:2``, ``labels`` or ``top-2``.

    Raises
    ------
    UsageError
        No such guard, or a number out of its range.

    Examples
    --------
    >>> parse("rounding:2"), parse("labels"), parse("top-2")
    (Rounding(decimals=2), LabelsOnly(), TopK(k=2))
    """
    for pattern, make in _GUARDS.values():
        found = re.fullmatch(pattern, text.strip(), flags=re.ASCII)
        if found:
            return make(*found.groups())
    raise UsageError(f"no guard {text!r}: write {', '.join(_GUARDS)}")
