"""The format of ``report.json``: these structs *are* the format, and its JSON Schema is made from them.

Everything a page or a terminal shows is in here, so that a saved report can be rendered again at any time. A change
that an old reader could not read gets a new `FORMAT`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from filch.errors import DataError

FORMAT: Final = "filch-report/1"
LEVELS = (0.9, 0.99, 0.999, 1.0)
"""The fidelities that a report gives queries for."""

Measure = Literal["both", "test", "uniform"]


class Point(msgspec.Struct, frozen=True):
    """One point of a curve: how far the best copy was from the target after so many queries.

    ``r_test`` and ``r_unif`` are the shares of test and of uniform rows that it answers otherwise, ``r_tv_…`` the mean
    total variation distances; None where not measured or not revealed.
    """

    queries: int
    requests: int
    r_test: float | None = None
    r_unif: float | None = None
    r_tv_test: float | None = None
    r_tv_unif: float | None = None
    mean_error: float | None = None
    """Of a regressor's values: how far they are off on average, in parts of their range."""

    def error(self, measure: Measure = "both") -> float | None:
        """The share of disagreement: on test rows, on uniform rows, or the larger of the two."""
        chosen = {"both": (self.r_test, self.r_unif), "test": (self.r_test,), "uniform": (self.r_unif,)}[measure]
        measured = [value for value in chosen if value is not None]
        return max(measured, default=None)


class Account(msgspec.Struct, frozen=True):
    """What one account of a run has paid: ``queries`` counts as an attacker would, ``sent`` what was transmitted."""

    queries: int
    sent: int
    requests: int
    phases: dict[str, int]


class InFlight(msgspec.Struct, frozen=True):
    """A batch that was in flight when a run broke off: paid, sent again, and paid again."""

    ask: int
    batch: int
    rows: int


class RunRecord(msgspec.Struct, frozen=True):
    """One run of the audit: an attack against one reveal."""

    name: str
    reveal: str
    attack: str
    seed: int
    budget: int
    outcome: str
    reason: str
    seconds: float
    settings: dict[str, str]
    ledger: dict[str, Account]
    curve: tuple[Point, ...]
    uncertain: tuple[InFlight, ...] = ()
    parameters: int | None = None
    model: str | None = None
    """The file of the copy, beside the report; None if it was not among the best."""

    @property
    def last(self) -> Point | None:
        """The copy that the run ended with, measured."""
        return self.curve[-1] if self.curve else None

    @property
    def sent(self) -> int:
        """Rows that it sent, over all accounts."""
        return sum(account.sent for account in self.ledger.values())

    def first(self, fidelity: float, measure: Measure = "both") -> Point | None:
        """The first point of the curve that reaches a fidelity; points in between are not made up."""
        for point in self.curve:
            error = point.error(measure)
            # 1 − 0.9 is a little less than 0.1 in binary: the slack keeps 1 of 10 rows at 90 %.
            if error is not None and error <= 1 - fidelity + 1e-12:
                return point
        return None


class Reached(msgspec.Struct, frozen=True):
    """What the cheapest copy of a fidelity costs; None throughout where no run of the audit reached it.

    ``queries`` is for that fidelity on test rows *and* on uniform rows, ``on_test`` and ``on_uniform`` for either
    alone. ``dollars`` and ``seconds`` are those of ``queries``.
    """

    fidelity: float
    queries: int | None = None
    requests: int | None = None
    dollars: float | None = None
    seconds: float | None = None
    attack: str | None = None
    on_test: int | None = None
    on_uniform: int | None = None


class Loss(msgspec.Struct, frozen=True):
    """What honest users lose by a coarser reveal.

    ``largest`` is the largest error of a number that is still shown, ``mean`` the mean total variation distance (of a
    value: the mean absolute error) to what was shown before; None where nothing of the kind is left to compare.
    """

    text: str
    largest: float | None = None
    mean: float | None = None


class RevealResult(msgspec.Struct, frozen=True):
    """How far one reveal gives the model away."""

    name: str
    served: bool
    reached: tuple[Reached, ...]
    closest: Point | None
    """Of the copies that the runs ended with the closest, which is the one that is saved, …"""
    closest_run: str | None
    """… and its run. A copy on the way may have been closer by chance; a thief cannot know which."""
    bound_test: float | None
    bound_uniform: float | None
    """Upper ends of the 95 % intervals (Clopper–Pearson) of that copy's disagreement."""
    break_even: int | None
    """Honest predictions after which a thief has gained, had they copied the model to 99 % instead of paying."""
    loss: Loss
    verdict: str

    def to(self, fidelity: float) -> Reached:
        """What a copy of one of the `LEVELS` costs."""
        return next(reached for reached in self.reached if reached.fidelity == fidelity)


class Target(msgspec.Struct, frozen=True):
    """The audited model, as far as it is public."""

    name: str
    kind: str
    fingerprint: str
    columns: int
    classes: tuple[str, ...] | None
    served: str
    local: bool


class Economics(msgspec.Struct, frozen=True):
    """What queries cost: dollars per 1,000, seconds a request, requests at a time, requests a second at most."""

    price: float
    latency: float
    concurrency: int = 1
    rate: float | None = None

    def dollars(self, queries: int) -> float:
        """The price of so many queries."""
        return queries * self.price / 1000

    def seconds(self, requests: int) -> float:
        """The time that so many requests take."""
        paced = requests / self.rate if self.rate else 0.0
        return max(paced, requests * self.latency / self.concurrency)


class Yardstick(msgspec.Struct, frozen=True):
    """What copies were measured on, and what that cost."""

    n_test: int
    n_uniform: int
    account: Account


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A finished audit."""

    format: Literal["filch-report/1"] = FORMAT
    filch: str
    created: str
    target: Target
    verdict: str
    advice: tuple[str, ...]
    reveals: tuple[RevealResult, ...]
    runs: tuple[RunRecord, ...]
    yardstick: Yardstick
    sent: int
    """Rows that the audit sent to the target, over all runs and accounts."""
    economics: Economics
    seeds: tuple[int, ...]
    digest: str
    authorized_by: str | None = None

    @property
    def served(self) -> RevealResult:
        """The reveal that the target serves today."""
        return next(reveal for reveal in self.reveals if reveal.served)

    def fail_under(self, queries: int, fidelity: float = 0.99) -> bool:
        """Whether a copy costs fewer queries than that, through what the target reveals today: a gate for CI.

        Parameters
        ----------
        queries : int
            What a copy should cost at least.
        fidelity : float, default 0.99
            One of `LEVELS`, on test rows and on uniform rows.
        """
        found = self.served.to(fidelity).queries
        return found is not None and found < queries


def save(report: Report, path: str | Path) -> Path:
    """Write a report as JSON."""
    path = Path(path)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def load(path: str | Path) -> Report:
    """Read a report that `save` wrote.

    Parameters
    ----------
    path : path
        A ``report.json``, or the folder that holds it.

    Raises
    ------
    DataError
        The file is missing, cut short, of another version, or no report.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    try:
        text = path.read_bytes()
        found = _Header.of(text)
        if found != FORMAT:
            raise DataError(
                f"{path} is of format {found!r}, this filch reads {FORMAT!r}: render it with its own version"
            )
        report = msgspec.json.decode(text, type=Report)
    except OSError as error:
        raise DataError(f"cannot read the report {path}: {error.strerror}; run filch audit first") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no complete report ({error}): run filch audit again") from error
    if not any(reveal.served for reveal in report.reveals):
        raise DataError(f"{path} names no reveal as served: run filch audit again")
    return report


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``report.json``; shipped as ``filch/report/schema.json``."""
    (root,), parts = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "filch audit report",
        **_described(root),
        "$defs": {name: _described(part) for name, part in parts.items()},
    }


def schema_text() -> str:
    """The JSON Schema as it stands in ``schema.json``; ``python -m filch.report`` prints it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


class _Header(msgspec.Struct):
    format: str

    @classmethod
    def of(cls, text: bytes) -> str:
        return msgspec.json.decode(text, type=cls).format


def _described(part: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the first paragraph of a docstring only: a schema's reader has no use for our headings."""
    return {k: " ".join(v.split("\n\n")[0].split()) if k == "description" else v for k, v in part.items()}
