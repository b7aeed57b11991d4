"""Conformance checks for attacks, oracles and guards, for those that come with filch and for anyone's.

Many small named checks, in the manner of scikit-learn's ``check_estimator``; a failed one raises an `AssertionError`
that names it and says what is wrong. They need no test runner. ::

    from filch.testing import check_attack

    def test_my_attack_keeps_the_contract():
        check_attack(MyAttack(), ModelOracle(model, space, reveal="labels"), budget=300)
"""

from filch.testing.attacks import ATTACK_CHECKS, check_attack
from filch.testing.guards import GUARD_CHECKS, check_guard
from filch.testing.oracles import ORACLE_CHECKS, check_oracle
from filch.testing.trees import random_tree

__all__ = [
    "ATTACK_CHECKS",
    "GUARD_CHECKS",
    "ORACLE_CHECKS",
    "check_attack",
    "check_guard",
    "check_oracle",
    "random_tree",
]
