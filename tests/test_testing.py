"""Everything of ours keeps the contracts, and each check fails on something broken in just that way."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from filch.attacks import make
from filch.attacks.lowd_meek import LowdMeek
from filch.attacks.retraining import Retraining
from filch.core.answers import Answers, Reveal
from filch.core.attack import Ask, Finding, Outcome
from filch.core.features import FeatureSpace
from filch.core.oracle import Batch, GuardedOracle, ModelOracle, Reply
from filch.errors import BudgetSpent, NotRevealed, ReplayDiverged
from filch.guards import LabelsOnly, Rounding, TopK
from filch.models.surrogate import SurrogateModel
from filch.testing import ATTACK_CHECKS, GUARD_CHECKS, ORACLE_CHECKS, check_attack, check_guard, check_oracle
from filch.testing.attacks import Case
from filch.testing.guards import check_idempotent
from filch.testing.oracles import check_secrets

X, Y = load_iris(return_X_y=True)
BOX = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
IRIS = LogisticRegression(max_iter=1_000).fit(X, np.array(["setosa", "versicolor", "virginica"])[Y])
RELU = MLPClassifier((4,), solver="lbfgs", max_iter=5_000, random_state=0).fit(X, Y)
BINARY = LogisticRegression(max_iter=1_000).fit(X, Y == 2)
VALUE = LinearRegression().fit(X, Y.astype(float))
TREE = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, Y)
LINEAR = LogisticRegression(C=100, max_iter=1_000)


def raw_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 200), "region": rng.choice(["n", "e", "s"], 200)})
    pipeline = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["region"]), remainder=StandardScaler()), LogisticRegression()
    )
    y = frame.age / 60 + (frame.region == "n") + rng.normal(size=200) * 0.3 > 1.1
    return pipeline.fit(frame, np.where(y, "yes", "no")), FeatureSpace.from_frame(frame)


RAW = raw_columns()
ORACLES = {
    "probabilities": ModelOracle(IRIS, BOX),
    "two decimals": ModelOracle(IRIS, BOX, decimals=2),
    "top-2": ModelOracle(IRIS, BOX, reveal="top-2"),
    "labels": ModelOracle(IRIS, BOX, reveal="labels"),
    "scores": ModelOracle(IRIS, BOX, reveal="scores"),
    "node": ModelOracle(TREE, BOX, reveal="node"),
    "value": ModelOracle(VALUE, BOX, reveal="value"),
    "small batches": ModelOracle(IRIS, BOX, max_batch=3),
    "raw columns": ModelOracle(*RAW),
    "guarded": GuardedOracle(ModelOracle(IRIS, BOX), Rounding(1)),
}

# ── ours pass ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ORACLES)
def test_our_oracles(name):
    check_oracle(ORACLES[name])


@pytest.mark.parametrize(
    ("guard", "name"),
    [
        (Rounding(2), "probabilities"),
        (Rounding(0), "top-2"),
        (Rounding(1), "value"),
        (Rounding(3), "scores"),
        (LabelsOnly(), "probabilities"),
        (LabelsOnly(), "node"),
        (LabelsOnly(), "labels"),
        (TopK(1), "probabilities"),
        (TopK(2), "two decimals"),
        (TopK(2), "probabilities"),
    ],
)
def test_our_guards(guard, name):
    check_guard(guard, ORACLES[name])


@pytest.mark.parametrize(
    ("attack", "oracle", "budget"),
    [
        (Retraining("uniform", surrogate=LINEAR, rounds=3), ORACLES["labels"], 90),
        (Retraining("adaptive", surrogate=LINEAR, rounds=3), ORACLES["raw columns"], 90),
        (Retraining("adaptive", surrogate=LINEAR, rounds=2), ORACLES["top-2"], 30),
        (Retraining(rounds=2), ORACLES["labels"], 32),
        (Retraining("line_search", surrogate="logistic", rounds=3), ORACLES["labels"], 90),
        (Retraining("line_search", surrogate="tree", rounds=3), ORACLES["raw columns"], 90),
        (Retraining(surrogate=LinearRegression()), ORACLES["value"], 60),
        (LowdMeek(precision=1e-4), ModelOracle(BINARY, BOX, reveal="labels"), 150),
        (make("logistic"), ORACLES["probabilities"], 60),
        (make("logistic"), ORACLES["raw columns"], 60),
        (make("logistic", link="ovr"), ORACLES["probabilities"], 60),
        (make("logistic", most=5), ORACLES["two decimals"], 60),
        (make("perceptron-relu"), ModelOracle(RELU, BOX), 250),
        (make("perceptron-relu"), ORACLES["raw columns"], 200),
        (make("perceptron-sgd", hidden=3, epochs=4), ORACLES["probabilities"], 150),
        (make("perceptron-sgd", hidden=3, epochs=4, alpha=1), ORACLES["top-2"], 50),
        (
            make("auto", candidates=(make("logistic"), Retraining(surrogate=LINEAR, rounds=2))),
            ORACLES["raw columns"],
            60,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_our_attacks(attack, oracle, budget):
    check_attack(attack, oracle, budget=budget)


# ── broken attacks fail ─────────────────────────────────────────────────────────────────────────────────────


def constant(spec, label):
    return SurrogateModel(spec.space, spec.classes, DummyClassifier().fit([[0]], [label]))


@dataclass(frozen=True)
class Sound:
    """Predicts the commonest label of twenty uniform rows: the smallest attack that keeps the contract."""

    def needs(self, spec):
        return None

    def rows(self, spec, rng):
        return spec.space.sample(10, rng)

    def model(self, answers, spec):
        given = answers.given
        labels = given.labels if given.labels is not None and len(given) else np.array([0])
        return constant(spec, int(np.bincount(labels).argmax()))

    def steps(self, spec, rng, *, budget, known):
        heard = known
        for _ in range(2):
            try:
                answers = yield Ask(self.rows(spec, rng), "rows", snapshot=lambda heard=heard: self.model(heard, spec))
                heard = Answers.concat([heard, answers])
            except BudgetSpent as spent:
                heard = Answers.concat([heard, spent.partial])
                return self.finding(heard, spec, Outcome.BUDGET_SPENT)
        return self.finding(heard, spec, Outcome.APPROXIMATE)

    def finding(self, heard, spec, outcome):
        return Finding(self.model(heard, spec), outcome, "a constant")


@dataclass
class Thawed:
    needs, rows, model, steps, finding = Sound.needs, Sound.rows, Sound.model, Sound.steps, Sound.finding


@dataclass(frozen=True)
class Picky(Sound):
    def needs(self, spec):
        return "it does not like this oracle"


@dataclass(frozen=True)
class Holding(Sound):
    target: Any = None


@dataclass(frozen=True)
class Insatiable(Sound):
    """Goes on asking after it was told that the budget is spent."""

    def steps(self, spec, rng, *, budget, known):
        while True:
            try:
                yield Ask(self.rows(spec, rng))
            except BudgetSpent:
                continue


@dataclass(frozen=True)
class Mute(Sound):
    """Ends without a model although its budget was enough."""

    def finding(self, heard, spec, outcome):
        return Finding(None, outcome)


@dataclass(frozen=True)
class Foreign(Sound):
    """Predicts labels that the target does not have."""

    def model(self, answers, spec):
        return constant(replace(spec, classes=("my", "own", "names")), 0)


@dataclass(frozen=True)
class Unseeded(Sound):
    def rows(self, spec, rng):
        return spec.space.sample(10, np.random.default_rng())


@dataclass(frozen=True)
class Global(Sound):
    def rows(self, spec, rng):
        np.random.random()  # noqa: NPY002
        return spec.space.sample(10, rng)


@dataclass(frozen=True)
class Fidgety(Sound):
    """Draws from the attack's generator whenever somebody looks at its model."""

    def steps(self, spec, rng, *, budget, known):
        def look():
            rng.random()
            return self.model(known, spec)

        for _ in range(3):
            yield Ask(self.rows(spec, rng), snapshot=look)
        return self.finding(known, spec, Outcome.APPROXIMATE)


@dataclass(frozen=True)
class Proud(Sound):
    """Takes it that every row is answered."""

    def model(self, answers, spec):
        if answers.refused.any():
            raise AssertionError("I was refused")
        return super().model(answers, spec)


@dataclass(frozen=True)
class Forgetful(Sound):
    """Remembers across runs, beside its fields."""

    seen: list = field(default_factory=list, hash=False)

    def rows(self, spec, rng):
        self.seen.append(1)
        return spec.space.sample(10 + len(self.seen), rng)


@dataclass(frozen=True)
class Greedy(Sound):
    """Takes what it knows for room above the budget: asks on another account."""

    def steps(self, spec, rng, *, budget, known):
        yield Ask(self.rows(spec, rng), account="evaluation")
        return self.finding(known, spec, Outcome.APPROXIMATE)


@dataclass(frozen=True)
class Unprepared(Sound):
    """Cannot take answers that are known already."""

    def steps(self, spec, rng, *, budget, known):
        assert not len(known), "I know nothing"
        return super().steps(spec, rng, budget=budget, known=known)


@dataclass(frozen=True)
class Hasty(Sound):
    """Counts its requests by what the oracle takes in one."""

    def rows(self, spec, rng):
        return spec.space.sample(spec.max_batch or 10, rng)


@dataclass(frozen=True)
class Talkative(Sound):
    """Evidence that is no JSON."""

    def finding(self, heard, spec, outcome):
        return Finding(self.model(heard, spec), outcome, "", {"rows": heard.rows})


def check_alone(checks, name, *arguments):
    (found,) = [check for check in checks if check.__name__ == name]
    found(*arguments)


def test_a_sound_attack_passes():
    check_attack(Sound(), ORACLES["labels"], budget=30)


@pytest.mark.parametrize(
    ("check", "attack"),
    [
        ("check_frozen", Thawed()),
        ("check_needs", Picky()),
        ("check_it_holds_no_target", Holding(ORACLES["labels"])),
        ("check_it_holds_no_target", Holding(ORACLES["labels"].model)),
        ("check_protocol", Insatiable()),
        ("check_protocol", Greedy()),
        ("check_protocol", Foreign()),
        ("check_budget_is_kept", Mute()),
        ("check_budget_is_kept", Foreign()),
        ("check_budget_is_kept", Talkative()),
        ("check_same_seed_same_queries", Unseeded()),
        ("check_same_seed_same_queries", Forgetful()),
        ("check_snapshots_change_nothing", Fidgety()),
        ("check_batches_may_come_out_of_order", Hasty()),
        ("check_refused_rows", Proud()),
        ("check_known_answers", Unprepared()),
        ("check_no_global_randomness", Global()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_check_fails_on_a_broken_attack(check, attack):
    with pytest.raises((AssertionError, TypeError)):
        check_alone(ATTACK_CHECKS, check, Case(attack, ORACLES["labels"], 30))


def test_an_attack_that_strays_on_replay_is_stopped():
    with pytest.raises(ReplayDiverged):
        check_alone(ATTACK_CHECKS, "check_replay_asks_nothing", Case(Unseeded(), ORACLES["labels"], 30))


def test_the_failed_check_is_named():
    with pytest.raises(AssertionError, match="check_needs: it cannot run"):
        check_attack(Picky(), ORACLES["labels"])


# ── broken oracles fail ─────────────────────────────────────────────────────────────────────────────────────


class Spoilt:
    """An oracle whose replies are changed on the way."""

    local = True

    def __init__(self, name="labels"):
        self.inner = ORACLES[name]
        self.spec = self.inner.spec

    def fingerprint(self):
        return "spoilt"

    def spoil(self, replies: Iterable[Reply]) -> Iterable[Reply]:
        return replies

    def answer(self, batches):
        yield from self.spoil(self.inner.answer(batches))


class Chatty(Spoilt):
    """Shows probabilities though it says labels."""

    def spoil(self, replies):
        for reply in replies:
            yield Reply(reply.batch, ORACLES["probabilities"].ask(reply.batch.rows))


class Overprecise(Spoilt):
    def __init__(self):
        super().__init__("two decimals")

    def spoil(self, replies):
        for reply in replies:
            yield Reply(reply.batch, ORACLES["probabilities"].ask(reply.batch.rows))


class Shuffling(Spoilt):
    def spoil(self, replies):
        for reply in replies:
            yield Reply(reply.batch, reply.answers[::-1])


class Swallowing(Spoilt):
    def spoil(self, replies):
        yield from list(replies)[:-1]


class Moody(Spoilt):
    """Answers by the size of the batch."""

    def spoil(self, replies):
        for reply in replies:
            labels = (reply.answers.labels + len(reply.answers)) % 3
            yield Reply(reply.batch, replace(reply.answers, labels=labels))


class Scribbling(Spoilt):
    def spoil(self, replies):
        for reply in replies:
            reply.batch.rows[:] = 0.0
            yield reply


class Restless(Spoilt):
    calls = 0

    def fingerprint(self):
        self.calls += 1
        return f"{self.calls}"


class Odd(Spoilt):
    local = 1


class Unsolicited(Spoilt):
    def spoil(self, replies):
        replies = list(replies)
        yield from replies or self.inner.answer(iter([Batch(0, BOX.sample(1, np.random.default_rng(0)))]))


@pytest.mark.parametrize(
    ("check", "oracle"),
    [
        ("check_public_facts", Odd()),
        ("check_answers_fit_the_facts", Chatty()),
        ("check_answers_fit_the_facts", Overprecise()),
        ("check_replies_belong_to_their_batches", Shuffling()),
        ("check_replies_belong_to_their_batches", Swallowing()),
        ("check_batches_do_not_matter", Moody()),
        ("check_rows_are_untouched", Scribbling()),
        ("check_it_pulls_what_it_answers", Swallowing()),
        ("check_it_pulls_what_it_answers", Unsolicited()),
        ("check_fingerprint", Restless()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_check_fails_on_a_broken_oracle(check, oracle):
    with pytest.raises(AssertionError):
        check_alone(ORACLE_CHECKS, check, oracle, BOX.sample(24, np.random.default_rng(0)))


def test_a_secret_in_a_fingerprint_is_noticed():
    with pytest.raises(AssertionError, match="secret"):
        check_secrets(Spoilt(), ("spoilt",))


# ── broken guards fail ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Open:
    """Changes nothing: sound."""

    def public(self, spec):
        return spec

    def apply(self, answers, spec):
        return answers


@dataclass
class Soft:
    public, apply = Open.public, Open.apply


@dataclass(frozen=True)
class Lying(Open):
    """Says labels, and shows everything."""

    def public(self, spec):
        return replace(spec, reveal=Reveal("labels"))


@dataclass(frozen=True)
class Renaming(Open):
    def public(self, spec):
        return replace(spec, classes=spec.classes[::-1])


@dataclass(frozen=True)
class Sorting(Open):
    def apply(self, answers, spec):
        return answers[np.argsort(answers.rows[:, 0])]


@dataclass(frozen=True)
class Pardoning(Open):
    def apply(self, answers, spec):
        return replace(answers, refused=np.zeros(len(answers), dtype=bool))


@dataclass(frozen=True)
class Revealing(Open):
    def apply(self, answers, spec):
        return replace(answers, node=np.zeros(len(answers), dtype=np.int64))


@dataclass(frozen=True)
class Writing(Open):
    def apply(self, answers, spec):
        answers.labels.flags.writeable = True
        answers.labels[:] = 0
        return answers


@dataclass(frozen=True)
class Noisy(Open):
    def apply(self, answers, spec):
        noise = np.random.default_rng().dirichlet(np.ones(3), len(answers))
        return replace(answers, probabilities=(answers.probabilities + noise) / 2)


@dataclass(frozen=True)
class Averaging(Open):
    def apply(self, answers, spec):
        mean = np.broadcast_to(answers.probabilities.mean(axis=0), answers.probabilities.shape)
        return replace(answers, probabilities=mean.copy())


@dataclass(frozen=True)
class Tempering(Open):
    """Sound, but not the same twice."""

    def public(self, spec):
        if spec.reveal != Reveal("probabilities"):
            raise NotRevealed("it tempers unrounded probabilities")
        return spec

    def apply(self, answers, spec):
        root = np.sqrt(answers.probabilities)
        return replace(answers, probabilities=root / root.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Inventing(Open):
    """Says that it shows probabilities, whatever it was given."""

    def public(self, spec):
        return replace(spec, reveal=Reveal("probabilities"))


ANSWERS = ORACLES["probabilities"].ask(BOX.sample(40, np.random.default_rng(0)))


def test_a_sound_guard_passes():
    check_guard(Open(), ORACLES["probabilities"])


@pytest.mark.parametrize(
    ("check", "guard"),
    [
        ("check_frozen", Soft()),
        ("check_public_facts_are_true", Lying()),
        ("check_public_facts_are_true", Renaming()),
        ("check_rows_are_kept", Sorting()),
        ("check_rows_are_kept", Pardoning()),
        ("check_nothing_new_is_shown", Revealing()),
        ("check_input_is_untouched", Writing()),
        ("check_repeating_tells_nothing", Noisy()),
        ("check_batches_do_not_matter", Averaging()),
        ("check_coarser_oracles", Inventing()),
        ("check_idempotent", Tempering()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_check_fails_on_a_broken_guard(check, guard):
    answers = Answers(**{name: array.copy() for name, array in ANSWERS.arrays().items()})
    with pytest.raises(AssertionError):
        check_alone((*GUARD_CHECKS, check_idempotent), check, guard, answers, ORACLES["probabilities"].spec)


def test_a_guard_need_not_be_idempotent():
    for guard, idempotent in ((Tempering(), False), (LabelsOnly(), True)):
        check_guard(guard, ORACLES["probabilities"], idempotent=idempotent)
    with pytest.raises(AssertionError, match="check_idempotent"):
        check_guard(Tempering(), ORACLES["probabilities"])
