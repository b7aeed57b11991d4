"""The verdict: only measured points count, medians over seeds, the cheapest over attacks, and it says so plainly."""

from __future__ import annotations

import pytest

from filch.audit.plan import Level
from filch.audit.verdict import advise, judge, sentence
from filch.evaluate import clopper_pearson
from filch.guards import LabelsOnly, Rounding
from filch.report.format import Account, Economics, Loss, Point, RevealResult, RunRecord, Yardstick

SERVED = Level("probabilities")
ROUNDED = Level("2 decimals", (Rounding(2),), "rounding to 2 decimals")
LABELS = Level("labels", (LabelsOnly(),), "answering labels only")
MONEY = Economics(price=1.0, latency=0.5)
ROWS = Yardstick(500, 10_000, Account(0, 0, 0, {}))
LOSS = Loss("A probability moves by at most 0.005.")


def run(
    level: Level, *curve: tuple[int, float, float], attack: str = "auto", seed: int = 0, checks: int = 8
) -> RunRecord:
    ledger = {"attack": Account(9, 9, 9, {}), "selection": Account(8, 8, 1, {})}
    points = tuple(Point(q, q // 10, on_test, on_uniform) for q, on_test, on_uniform in curve)
    name = f"{level.name} / {attack} / seed {seed}"
    return RunRecord(name, level.name, attack, seed, 5_000, "verified", "", 1.0, {}, ledger, points)


def judged(level: Level, *runs: RunRecord) -> RevealResult:
    return judge(level, runs, ROWS, MONEY, LOSS)


def test_queries_are_those_of_the_first_measured_point() -> None:
    result = judged(SERVED, run(SERVED, (10, 0.3, 0.3), (100, 0.02, 0.005), (400, 0.0, 0.0005), (900, 0.0, 0.0)))
    assert [reached.queries for reached in result.reached] == [100, 400, 400, 900]
    assert [reached.on_uniform for reached in result.reached] == [100, 100, 400, 900]
    assert [reached.on_test for reached in result.reached] == [100, 400, 400, 400]
    good = result.to(0.99)
    assert (good.dollars, good.seconds, good.requests) == (0.4, 20.0, 40)


def test_cheapest_attack_counts_and_the_median_of_seeds() -> None:
    slow = [run(SERVED, (q, 0.0, 0.0), seed=s) for s, q in enumerate((100, 300, 900))]
    assert judged(SERVED, *slow).to(1.0).queries == 300
    fast = [run(SERVED, (q, 0.0, 0.0), attack="lowd-meek", seed=s) for s, q in enumerate((200, 250, 5_000))]
    found = judged(SERVED, *slow, *fast).to(1.0)
    assert (found.queries, found.attack) == (250, "lowd-meek")


def test_an_attack_that_mostly_fails_does_not_count() -> None:
    runs = [run(SERVED, (10, 0.0, 0.0)), run(SERVED, (10, 0.5, 0.5), seed=1), run(SERVED, (10, 0.5, 0.5), seed=2)]
    assert judged(SERVED, *runs).to(0.9).queries is None


def test_break_even_counts_the_checks_too() -> None:
    assert judged(SERVED, run(SERVED, (50, 0.0, 0.0))).break_even == 58
    assert judged(SERVED, run(SERVED, (50, 0.5, 0.5))).break_even is None
    free = judge(SERVED, [run(SERVED, (50, 0.0, 0.0))], ROWS, Economics(price=0.0, latency=0.1), LOSS)
    assert free.break_even is None, "where predictions cost nothing, nothing is saved"


def test_bounds_are_clopper_pearson() -> None:
    result = judged(SERVED, run(SERVED, (50, 0.0, 0.0001)))
    assert result.bound_test == pytest.approx(clopper_pearson(0, 500)[1])
    assert result.bound_uniform == pytest.approx(clopper_pearson(1, 10_000)[1])


def test_sentence_names_price_time_and_each_change() -> None:
    runs = [
        run(SERVED, (63, 0.0, 0.0)),
        run(ROUNDED, (630, 0.0, 0.0)),
        run(LABELS, (100, 0.1, 0.1), (2_000, 0.01, 0.005)),
    ]
    levels = [SERVED, ROUNDED, LABELS]
    results = [judged(level, r) for level, r in zip(levels, runs, strict=True)]
    assert sentence(levels, results, runs) == (
        "Your model can be copied to 100 % with 63 queries ($0.06, 3 s); rounding to 2 decimals raises this to "
        "630 queries; answering labels only holds it to 99 %, with 2,000 queries ($2.00, 100 s)."
    )
    advice = advise(levels, results)
    assert advice[0].startswith("Answering labels only: a 99 % copy costs 32 times as much. For honest users: a prob")
    assert advice[1].startswith("Rounding to 2 decimals: a 99 % copy costs 10 times as much.")
    assert "--fail-under" in advice[-1]


def test_sentence_when_nothing_changes_and_when_nothing_is_left() -> None:
    runs = [run(SERVED, (63, 0.0, 0.0)), run(ROUNDED, (63, 0.0, 0.0)), run(LABELS, (63, 0.4, 0.4))]
    levels = [SERVED, ROUNDED, LABELS]
    results = [judged(level, r) for level, r in zip(levels, runs, strict=True)]
    told = sentence(levels, results, runs)
    assert "rounding to 2 decimals changes nothing" in told
    longer = run(LABELS, (2_000, 0.01, 0.005), (5_000, 0.002, 0.001))
    better = judged(LABELS, longer)
    assert better.verdict == "99 % with 2,000 queries ($2.00, 100 s); 99.8 % at best."
    told_better = sentence(levels, [*results[:2], better], [*runs[:2], longer])
    assert "answering labels only holds it to 99.8 % within 5,000 queries (99 % takes 2,000)." in told_better
    assert "answering labels only holds it to 60.0 % within 5,000 queries." in told
    nothing = run(LABELS)
    told_nothing = sentence(levels, [*results[:2], judged(LABELS, nothing)], [*runs[:2], nothing])
    assert "leaves no copy at all" in told_nothing
    only = advise([SERVED, ROUNDED], results[:2])
    assert only[0].startswith("No coarser reveal")


def test_sentence_when_the_model_was_not_copied() -> None:
    runs = [run(SERVED, (500, 0.2, 0.35))]
    results = [judged(SERVED, *runs)]
    assert sentence([SERVED], results, runs) == (
        "No attack of this audit copied the model to 90 %: 5,000 queries got no closer than 65.0 %."
    )
    assert advise([SERVED], results)[0].startswith("Keep the reveal as it is")
    nothing = run(SERVED)
    assert "found no copy at all" in sentence([SERVED], [judged(SERVED, nothing)], [nothing])


def test_a_few_more_queries_are_no_countermeasure() -> None:
    runs = [run(SERVED, (3, 0.0, 0.0)), run(ROUNDED, (12, 0.0, 0.0))]
    results = [judged(level, r) for level, r in zip([SERVED, ROUNDED], runs, strict=True)]
    assert advise([SERVED, ROUNDED], results)[0].startswith("No coarser reveal")


def test_the_final_copy_is_told_where_one_on_the_way_was_closer() -> None:
    found = judged(SERVED, run(SERVED, (10, 0.2, 0.2), (41, 0.0005, 0.0003), (50, 0.003, 0.001)))
    assert found.to(0.999).queries == 41
    assert found.closest is not None and found.closest.queries == 50
    assert "; the final copy, which is saved, agrees on 99.7 %." in found.verdict
    assert "final copy" not in judged(SERVED, run(SERVED, (41, 0.0005, 0.0003))).verdict
    never = [run(SERVED, (10, 0.15, 0.12), (50, 0.3, 0.2))]
    told = sentence([SERVED], [judged(SERVED, *never)], never)
    assert "got no closer than 85.0 %" in told, "of all that was measured"


def test_what_a_countermeasure_holds_a_copy_to_is_the_closest_measured() -> None:
    runs = [run(SERVED, (63, 0.0, 0.0)), run(LABELS, (100, 0.04, 0.03), (900, 0.06, 0.05))]
    results = [judged(level, r) for level, r in zip([SERVED, LABELS], runs, strict=True)]
    assert "holds it to 96.0 % within 5,000 queries" in sentence([SERVED, LABELS], results, runs)


def test_values_that_are_nearly_right_are_not_told_to_be_safe() -> None:
    def regression(error: float) -> RunRecord:
        near = Point(500, 50, 0.99, 0.98, mean_error=error)
        ledger = {"attack": Account(9, 9, 9, {}), "selection": Account(8, 8, 1, {})}
        return RunRecord("served", SERVED.name, "auto", 0, 5_000, "none_fits", "", 1.0, {}, ledger, (near,))

    near, far = (judged(SERVED, regression(error)) for error in (0.011, 0.3))
    assert "at most 1.0 % of the values, and those of the final copy are off by 1.1 % of their range" in near.verdict
    assert "off by only 1.1 % of their range" in advise([SERVED], [near])[0]
    assert advise([SERVED], [far])[0].startswith("Keep the reveal as it is")
