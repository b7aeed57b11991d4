"""The verdict: from measured runs to what a copy costs, what each coarser reveal changes, and one plain sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from filch.audit.plan import Level
from filch.evaluate import clopper_pearson
from filch.guards import Rounding
from filch.report import text
from filch.report.format import LEVELS, Economics, Loss, Measure, Point, Reached, RevealResult, RunRecord, Yardstick

_NEAR = 0.05  # of the range: values so far off on average are not told to be safe
_FEW = 50  # queries: a countermeasure that makes a copy dearer by less is no help to anyone


def judge(
    level: Level, runs: Sequence[RunRecord], yardstick: Yardstick, economics: Economics, loss: Loss
) -> RevealResult:
    """Say how far one reveal gives the model away.

    Over several seeds an attack costs its median (the upper one); over several attacks the cheapest counts.

    Parameters
    ----------
    level : Level
    runs : sequence of RunRecord
        All runs against this reveal.
    yardstick, economics
        What the copies were measured on, and what queries cost.
    loss : Loss
        What honest users lose by it.
    """
    ended = [(run, run.last) for run in runs]
    scored = [(error, i) for i, (_, p) in enumerate(ended) if p and (error := p.error()) is not None]
    run, closest = ended[min(scored)[1]] if scored else (None, None)
    reached = tuple(_reached(fidelity, runs, economics) for fidelity in LEVELS)
    good = next(r for r in reached if r.fidelity == 0.99)
    checked = 0 if good.attack is None else min(r.ledger["selection"].queries for r in runs if r.attack == good.attack)
    even = None if good.queries is None or not economics.price else good.queries + checked
    return RevealResult(
        name=level.name,
        served=level.served,
        reached=reached,
        closest=closest,
        closest_run=run.name if run else None,
        bound_test=_bound(closest.r_test if closest else None, yardstick.n_test),
        bound_uniform=_bound(closest.r_unif if closest else None, yardstick.n_uniform),
        break_even=even,
        loss=loss,
        verdict=_alone(level, reached, closest, runs),
    )


def sentence(levels: Sequence[Level], results: Sequence[RevealResult], runs: Sequence[RunRecord]) -> str:
    """One plain sentence for the top of a report: the reveal as served, then what each countermeasure changes."""
    served = next(result for result in results if result.served)
    best = _best(served.reached)
    if best is None:
        return f"{_not_copied(served.closest, runs, served.name)}."
    first = f"Your model can be copied to {text.level(best.fidelity)} with {_cost(best)}"
    told = [(level, result) for level, result in zip(levels, results, strict=True) if not level.served]
    rounding = [pair for pair in told if _rounds(pair[0])]
    rest = [pair for pair in told if not _rounds(pair[0])]
    # Of several roundings the coarsest speaks for all: where it changes nothing, the finer ones do not either.
    parts = [f"{level.change} {_change(best, result, runs)}" for level, result in rounding[-1:] + rest]
    return "; ".join([first, *parts]) + "."


def advise(levels: Sequence[Level], results: Sequence[RevealResult]) -> tuple[str, ...]:
    """What to do next, the most useful first."""
    served = next(result for result in results if result.served)
    goal = served.to(0.99)
    off = served.closest.mean_error if served.closest else None
    if goal.queries is None and off is not None and off <= _NEAR:
        return (
            f"A copy gives few values exactly, but is off by only {text.share(off)} of their range on average: "
            "if that is enough for a thief, the model is copied. Limit queries as for one that is.",
            *_always(),
        )
    if goal.queries is None:
        return (
            "Keep the reveal as it is, and audit again with a larger budget (--max-queries) after each retraining.",
            *_always(),
        )
    found: list[tuple[float, str]] = []
    for level, result in zip(levels, results, strict=True):
        if level.served:
            continue
        then = result.to(0.99).queries
        factor = float("inf") if then is None else then / goal.queries
        if factor >= 2 and (then is None or then - goal.queries >= _FEW):
            gain = (
                "no 99 % copy within the budget" if then is None else f"a 99 % copy costs {factor:,.0f} times as much"
            )
            change, lost = level.change, result.loss.text
            text_of = f"{change[0].upper()}{change[1:]}: {gain}. For honest users: {lost[0].lower()}{lost[1:]}"
            found.append((factor, text_of))
    guards = [advice for _, advice in sorted(found, key=lambda item: -item[0])[:2]]
    if not guards:
        guards = ["No coarser reveal that was audited makes a copy much dearer: limit who may ask, and how much."]
    return (*guards, *_always())


def _always() -> tuple[str, ...]:
    return (
        "Limit queries per customer below what a copy costs, and watch for customers who ask far more evenly spread "
        "rows than real ones are.",
        "Put the audit into CI: filch audit … --fail-under N exits with 3 when a 99 % copy costs fewer than N queries.",
    )


def _reached(fidelity: float, runs: Sequence[RunRecord], economics: Economics) -> Reached:
    both = _cheapest(runs, fidelity, "both")
    alone = [_cheapest(runs, fidelity, measure) for measure in ("test", "uniform")]
    on_test, on_uniform = (found[1].queries if found else None for found in alone)
    if both is None:
        return Reached(fidelity, on_test=on_test, on_uniform=on_uniform)
    attack, point = both
    return Reached(
        fidelity=fidelity,
        queries=point.queries,
        requests=point.requests,
        dollars=economics.dollars(point.queries),
        seconds=economics.seconds(point.requests),
        attack=attack,
        on_test=on_test,
        on_uniform=on_uniform,
    )


def _cheapest(runs: Iterable[RunRecord], fidelity: float, measure: Measure) -> tuple[str, Point] | None:
    """The cheapest attack's median first point."""
    by_attack: dict[str, list[Point | None]] = {}
    for run in runs:
        by_attack.setdefault(run.attack, []).append(run.first(fidelity, measure))
    medians: list[tuple[str, Point]] = []
    for attack, points in by_attack.items():
        median = sorted(points, key=lambda p: float("inf") if p is None else p.queries)[len(points) // 2]
        if median is not None:
            medians.append((attack, median))
    return min(medians, key=lambda item: item[1].queries, default=None)


def _rounds(level: Level) -> bool:
    return any(isinstance(guard, Rounding) for guard in level.guards)


def _best(reached: Sequence[Reached]) -> Reached | None:
    return next((r for r in reversed(reached) if r.queries is not None), None)


def _bound(error: float | None, n: int) -> float | None:
    return None if error is None or not n else clopper_pearson(round(error * n), n)[1]


def _cost(reached: Reached) -> str:
    assert reached.queries is not None
    return f"{text.queries(reached.queries)} ({text.dollars(reached.dollars)}, {text.duration(reached.seconds)})"


def _alone(level: Level, reached: Sequence[Reached], closest: Point | None, runs: Sequence[RunRecord]) -> str:
    best = _best(reached)
    if best is None:
        return f"{_not_copied(closest, runs, level.name)}."
    least, ended = _least(runs, level.name), closest.error() if closest else None
    more = f"; {text.percent(least)} at best" if least is not None and 0 < least < 1 - best.fidelity - 1e-9 else ""
    if ended is not None and ended > 1 - best.fidelity + 1e-9:
        more += f"; the final copy, which is saved, agrees on {text.percent(ended)}"
    return f"{text.level(best.fidelity)} with {_cost(best)}{more}."


def _not_copied(closest: Point | None, runs: Sequence[RunRecord], name: str) -> str:
    budget = max((run.budget for run in runs if run.reveal == name), default=0)
    error = _least(runs, name)
    if error is None:
        best = "found no copy at all"
    elif closest is not None and closest.mean_error is not None:
        best = (
            f"found a copy with at most {text.percent(error)} of the values, "
            f"and those of the final copy are off by {text.share(closest.mean_error)} of their range on average"
        )
    else:
        best = f"got no closer than {text.percent(error)}"
    return f"No attack of this audit copied the model to {text.level(LEVELS[0])}: {text.queries(budget)} {best}"


def _least(runs: Sequence[RunRecord], name: str) -> float | None:
    """The least error of all copies that were measured through a reveal, on the way and at the end."""
    errors = [point.error() for run in runs if run.reveal == name for point in run.curve]
    return min((error for error in errors if error is not None), default=None)


def _change(base: Reached, result: RevealResult, runs: Sequence[RunRecord]) -> str:
    assert base.queries is not None
    same = result.to(base.fidelity)
    if same.queries is not None:
        if same.queries <= base.queries:
            return "changes nothing"
        return f"raises this to {text.queries(same.queries)}"
    error = _least(runs, result.name)
    if error is None:
        return "leaves no copy at all"
    budget = max(run.budget for run in runs if run.reveal == result.name)
    less = _best(result.reached)
    if less and error >= 1 - less.fidelity - 1e-9:
        return f"holds it to {text.level(less.fidelity)}, with {_cost(less)}"
    taken = f" ({text.level(less.fidelity)} takes {less.queries:,})" if less else ""
    return f"holds it to {text.percent(error)} within {text.queries(budget)}{taken}"
