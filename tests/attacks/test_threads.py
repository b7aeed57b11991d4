"""What an attack computes runs on one BLAS thread; what its target computes does not."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from filch.attacks.threads import on_one_thread, one_thread
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.errors import BudgetSpent


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("this BLAS has one thread only")
        yield


def test_one_thread_while_it_is_entered():
    with one_thread():
        assert threads() == {1}
    assert threads() == {2}


def test_between_asks_there_is_one_thread_and_elsewhere_as_many_as_before():
    partial, inside = Answers.none(1), []

    def steps():
        inside.append(threads())
        answers = yield Ask(np.zeros((1, 1)))
        inside.append(threads())
        try:
            yield Ask(np.ones((1, 1)))
        except BudgetSpent as spent:
            inside.append(threads())
            return answers, spent.partial

    passed = on_one_thread(steps())
    assert next(passed).rows.tolist() == [[0.0]] and threads() == {2}
    first = Answers.none(1)
    assert passed.send(first).rows.tolist() == [[1.0]] and threads() == {2}
    with pytest.raises(StopIteration) as end:
        passed.throw(BudgetSpent(partial))
    assert end.value.value == (first, partial) and inside == [{1}] * 3 and threads() == {2}


def test_mistakes_come_through_and_leave_the_threads_as_they_were():
    def steps():
        yield Ask(np.zeros((1, 1)))
        raise ZeroDivisionError

    passed = on_one_thread(steps())
    next(passed)
    with pytest.raises(ZeroDivisionError):
        passed.send(Answers.none(1))
    assert threads() == {2}
