"""The end of an audit: judge what was measured, and leave it on disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import filch
from filch.audit.execute import Executed
from filch.audit.plan import Plan
from filch.audit.verdict import advise, judge, sentence
from filch.core.models import ExtractedModel
from filch.errors import UsageError
from filch.report import render, save
from filch.report.format import Report, RunRecord, Target


@dataclass(frozen=True, eq=False)
class AuditReport:
    """A finished audit.

    Attributes
    ----------
    data : Report
        Everything that was found, as in ``report.json``.
    models : dict
        The copy that the closest run through each reveal ended with, by the reveal's name.
    out : Path or None
        The folder with ``report.json``, ``report.html``, the copies and the journal.
    """

    data: Report
    models: dict[str, ExtractedModel]
    out: Path | None = None

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        return self.data.verdict

    @property
    def html(self) -> Path | None:
        """The page."""
        return self.out / "report.html" if self.out else None

    def fail_under(self, queries: int) -> bool:
        """Whether a 99 % copy costs fewer queries than that, through what the target reveals today."""
        return self.data.fail_under(queries)

    def __str__(self) -> str:
        return self.verdict


def finish(
    plan: Plan, done: Executed, target: Target, folder: Path | None = None, authorized_by: str | None = None
) -> AuditReport:
    """Judge what was measured, and write it down if there is a folder.

    Raises
    ------
    UsageError
        The folder cannot be written to; what was paid for is in the journal.
    """
    by_level = [[run for run in done.records if run.reveal == level.name] for level in plan.levels]
    results = [
        judge(level, runs, done.yardstick, plan.economics, done.losses[level.name])
        for level, runs in zip(plan.levels, by_level, strict=True)
    ]
    best = {r.name: r.closest_run for r in results if r.closest_run in done.models}
    models = {level: done.models[run] for level, run in best.items() if run is not None}
    try:
        files = (
            {best[level]: model.save(folder / _file(level, plan)).name for level, model in models.items()}
            if folder
            else {}
        )
        runs = tuple(msgspec.structs.replace(run, model=files.get(run.name)) for run in done.records)
        data = Report(
            filch=filch.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            target=target,
            verdict=sentence(plan.levels, results, runs),
            advice=advise(plan.levels, results),
            reveals=tuple(results),
            runs=runs,
            yardstick=done.yardstick,
            sent=done.sent,
            economics=plan.economics,
            seeds=tuple(sorted({cell.seed for cell in plan.cells})),
            digest=_digest(runs),
            authorized_by=authorized_by,
        )
        if folder:
            render(save(data, folder / "report.json"))
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}; mend that and run the same audit again"
        ) from error
    return AuditReport(data, models, folder)


def _file(level: str, plan: Plan) -> str:
    served = level == plan.levels[0].name
    return "model" if served else f"model-{re.sub(r'[^a-z0-9]+', '-', level.lower())}"


def _digest(runs: Sequence[RunRecord]) -> str:
    text = "\n".join(f"{run.name}: {sorted(run.settings.items())}" for run in runs)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
