"""`filch extract`: one attack against one target."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from filch import attacks, guards
from filch.cli import target as options
from filch.cli.console import bar, out
from filch.core.journal import Journal
from filch.core.oracle import guarded
from filch.core.run import Run
from filch.errors import UsageError
from filch.evaluate import Evaluation, Fidelity
from filch.extraction import extract
from filch.report.text import dollars


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("extract", epilog=_EXAMPLES)(_extract)


_EXAMPLES = """Examples:

filch extract model.joblib --trust --data customers.csv --target churn --budget 1000

filch extract http://127.0.0.1:8080/v2/models/credit/infer --budget 500 --journal run.db --out copy.npz

filch extract model.joblib --trust --data customers.csv --guard labels --attack retraining -p surrogate=rbf-svm

filch extract http://127.0.0.1:8080/v2/models/credit/infer --budget 500 --journal run.db --resume

filch extract bigml://127.0.0.1:8080/model/53c872fb37203f7085000ddd --attack tree-top-down
"""


def _extract(
    where: options.Where,
    attack: Annotated[str, typer.Option("--attack", help="See `filch attacks`.")] = "auto",
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", help="Of the attack: -p surrogate=rbf-svm, -p rounds=5. May come again."),
    ] = None,
    budget: Annotated[int, typer.Option("--budget", help="The most queries (rows) to pay.")] = 1_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed asks the same rows.")] = 0,
    guard: Annotated[
        list[str] | None, typer.Option("--guard", help="A countermeasure: rounding:2, labels, top-1. May come again.")
    ] = None,
    data: options.Data = None,
    column: options.Column = None,
    trust: options.Trust = False,
    journal: Annotated[Path | None, typer.Option("--journal", help="Write every batch here before it is sent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the journal.")] = False,
    save: Annotated[Path | None, typer.Option("--out", help="Where to save the copy.")] = None,
    evaluate: Annotated[
        int | None, typer.Option("--evaluate", help="Uniform rows to measure the copy on; a remote target's are paid.")
    ] = None,
    dialect: options.Dialect = "kserve-v2",
    reveal: options.Shown = None,
    decimals: options.Decimals = None,
    classes: options.Classes = None,
    max_batch: options.MaxBatch = None,
    concurrency: options.Concurrency = 4,
    rate: options.Rate = None,
    timeout: options.Timeout = 30.0,
    header_env: options.HeaderEnv = None,
    ca_file: options.CaFile = None,
    authorized_by: options.Authorized = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Extract a copy of a model through its API."""
    _check_journal(journal, resume)
    if save is not None:
        _check_writable(save)
    if evaluate is not None and evaluate < 0:
        raise UsageError(f"--evaluate is 0 (measure nothing) or more rows, got {evaluate}")
    chosen = attacks.make(attack, **_parameters(parameter or []))
    target = options.Target(
        where, data, column, trust, dialect, reveal, decimals, classes, max_batch, concurrency, rate, timeout,
        header_env, ca_file, authorized_by,
    )  # fmt: skip
    if not target.remote and (rate is not None or authorized_by is not None):
        raise UsageError("a model file takes no --rate and no --i-am-authorized: leave them out")
    table = target.table()
    oracle = target.oracle(table)
    protections = [guards.parse(text) for text in guard or ()]
    try:
        with bar(quiet=as_json) as tell:
            run = extract(
                oracle,
                chosen,
                budget=budget,
                seed=seed,
                guard=protections,
                journal=journal,
                curve=False,
                progress=(lambda progress: tell(progress, attack)) if tell else None,
            )
    except KeyboardInterrupt:
        kept = (
            f"what was paid is in {journal}: go on with --resume" if journal else "without --journal, nothing is kept"
        )
        raise KeyboardInterrupt(f"stopped; {kept}") from None
    fidelity = None
    rows = evaluate if evaluate is not None else 10_000 if oracle.local else 0
    if run.model is not None and rows > 0:
        if oracle.local:
            asked = Evaluation.of(oracle, table, rows, seed)
        else:
            asked = Evaluation.paid(oracle, None, rows, seed)[0]
        fidelity = asked.behind(guarded(oracle, protections).spec).measure(run.model)
    saved = run.model.save(save) if save and run.model is not None else None
    cost = oracle.cost(run.ledger.paid, run.seconds) if hasattr(oracle, "cost") else None
    if as_json:
        print(json.dumps(_facts(run, fidelity, saved, cost), indent=2))
    else:
        _show(run, fidelity, saved, cost)


def _parameters(texts: list[str]) -> dict[str, Any]:
    """Read ``name=value``: a value is JSON, and else text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name.isidentifier():
            raise UsageError(f"--parameter takes name=value, as in -p rounds=5, got {text!r}")
        if name in found:
            raise UsageError(f"--parameter {name} is given twice")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
        if isinstance(found[name], list):
            found[name] = tuple(found[name])
    return found


def _check_writable(path: Path) -> None:
    """Say that a copy cannot be saved before it is paid for; a trial tells more than permissions do."""
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it, such as {path / 'copy.npz'}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"cannot write {path}: check that {path.parent} exists and is writable") from error


def _check_journal(journal: Path | None, resume: bool) -> None:
    if resume and journal is None:
        raise UsageError("--resume needs --journal FILE: the file of the run to go on with")
    if journal is None:
        return
    held = False
    if journal.exists():
        with Journal(journal) as log:
            held = bool(log.runs())
    if held and not resume:
        raise UsageError(f"{journal} holds a run already: add --resume to go on with it, or name another file")
    if resume and not held:
        raise UsageError(f"{journal} holds no run to go on with: check the name, or leave out --resume to begin one")


def _facts(run: Run, fidelity: Fidelity | None, saved: Path | None, cost: float | None) -> dict[str, Any]:
    return {
        "outcome": run.outcome.value,
        "reason": run.reason,
        "queries": run.queries,
        "selection": run.selection,
        "requests": run.requests,
        "seconds": round(run.seconds, 3),
        "ledger": run.ledger.as_dict(),
        "dollars": cost,
        "uncertain": [{"ask": u.ask, "batch": u.batch, "rows": u.rows} for u in run.uncertain],
        "evidence": dict(run.evidence),
        "fidelity": None if fidelity is None else fidelity.as_dict(),
        "settings": dict(run.settings),
        "model": None if saved is None else str(saved),
    }


def _show(run: Run, fidelity: Fidelity | None, saved: Path | None, cost: float | None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_row("outcome", f"[bold]{run.outcome.value.replace('_', ' ')}[/]  {run.reason}")
    table.add_row("queries", f"{run.queries:,} to attack, {run.selection:,} to check; {run.requests:,} requests")
    if cost is not None:
        table.add_row("price", f"{dollars(cost)} as the service charges, the endpoint's time included")
    if run.uncertain:
        rows = sum(batch.rows for batch in run.uncertain)
        table.add_row("uncertain", f"{rows:,} rows were in flight when the run broke off: paid and sent again")
    if fidelity is not None:
        for name, n in (("r_test", fidelity.n_test), ("r_unif", fidelity.n_uniform)):
            value = getattr(fidelity, name)
            if value is not None:
                high = fidelity.interval(name)[1]  # type: ignore[arg-type]
                whose = f"the table's {n:,} rows" if name == "r_test" else f"{n:,} uniform rows"
                table.add_row("agreement", f"{1 - value:.4%} of {whose} (95 %: at least {1 - high:.4%})")
    if saved is not None:
        table.add_row("copy", str(saved))
    out.print(table)
