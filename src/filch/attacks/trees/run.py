"""How the path-finding attacks run: search, test what answers alike, check, and say how it went."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from filch.attacks.trees.assemble import assemble
from filch.attacks.trees.lines import Step
from filch.attacks.trees.memory import REFUSED, Memory
from filch.attacks.trees.omitted import Omitted, kept
from filch.attacks.trees.regions import Region
from filch.attacks.trees.shared import Tests, shared_ids
from filch.attacks.trees.solve import Solver
from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Also, Ask, Finding, Outcome, lockstep
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent
from filch.models.trees.tree import TreeModel

_NARROW = 8  # rows of a request, up to which more are asked so as to spare another
_PLENTY = 12  # queries a request so far, from which on none is spared
_EARLY = 3  # rows of a request, up to which leaves are tested before all others are found
_ROUNDS = 24  # of tests, and of checks that led to repairs


@dataclass(eq=False)
class PathFinding:
    """One run of the search that both attacks share.

    Parameters
    ----------
    spec : OracleSpec
    solver : Solver
    rng : Generator
    probes : int
        Pairs of rows by which a leaf is tested whose id other leaves have too.
    check : int
    """

    spec: OracleSpec
    solver: Solver
    rng: np.random.Generator
    probes: int
    check: int
    root: Region = field(init=False)
    tests: Tests = field(init=False)
    varied: int = 0
    turns: int = 0
    sent: int = 0
    width: int = 0
    """Rows of the last request."""
    incomplete: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = np.full(len(self.spec.space), not self.solver.partial)
        self.root = Region.whole(self.spec.space, given)
        self.tests = Tests(self.spec, self.solver, self.probes)

    @property
    def memory(self) -> Memory:
        """The answers so far."""
        return self.solver.memory

    def model(self) -> TreeModel | None:
        """The best tree so far."""
        return assemble(self.root, self.memory, self.spec)

    def _final(self) -> TreeModel | None:
        return assemble(self.root, self.memory, self.spec, proof=True)

    def steps(self, known: Answers) -> Generator[Ask, Answers, Finding]:
        """Search, test, check."""
        self.memory.learn(known)
        try:
            agreed, asked = yield from self._whole()
            if self._misled:  # then incomplete rows do not show the node that splits next: complete ones do
                self.solver.partial = False
                agreed, asked = yield from self._whole()
            if self.solver.branches:
                yield from self._missing()
        except BudgetSpent as spent:
            self.memory.learn(spent.partial)
            reason = f"the budget ended with {self._open():,} boxes still to search"
            return Finding(self._final(), Outcome.BUDGET_SPENT, reason, self._evidence())
        evidence = {**self._evidence(), "checked": asked, "agreed": agreed}
        found, leaves = self._final(), evidence["leaves"]
        if not asked:
            why = "the rows to check with were refused" if self.check else "the tree was not held against further rows"
            return Finding(found, Outcome.UNVERIFIED, f"{leaves:,} leaves; {why}", evidence)
        told = f"{leaves:,} leaves; {agreed} of {asked} further rows agree"
        if self.varied:
            why = f"{self.varied} rows asked once more were answered otherwise: the answers vary"
            return Finding(found, Outcome.CLASS_MISMATCH, f"{leaves:,} leaves; {why}", evidence)
        if agreed < asked:
            why = "the target is no such tree, or leaves that share an id hide others"
            return Finding(found, Outcome.CLASS_MISMATCH, f"{told}: {why}", evidence)
        if self.spec.reveal.level == "labels":
            return Finding(found, Outcome.APPROXIMATE, f"{told}; labels alone prove no leaf", evidence)
        return Finding(found, Outcome.VERIFIED, told, evidence)

    @property
    def _misled(self) -> bool:
        """Whether incomplete rows were asked and turned out to take branches."""
        return self.solver.partial and self.solver.branches

    def _again(self) -> Step:
        """Search by complete rows what incomplete ones did not show."""
        boxes = yield from kept(self.root, self.memory)
        yield Also({f"again {n}": self.solver.solve(box, f"again {n}/") for n, box in enumerate(boxes)})

    def _whole(self) -> Generator[Ask, Answers, tuple[int, int]]:
        """Search the whole space, test, check; how many rows agree, of how many. It ends early if it is misled."""
        search = self.solver.solve(self.root) if self.solver.partial or not self.solver.branches else self._again()
        yield from self._together({"root": search}, "paths")
        yield from self._test()
        return (yield from self._check())

    def _together(self, searches: Mapping[str, Step], phase: str) -> Generator[Ask, Answers, None]:
        """Run searches side by side; asks that are too large go out in blocks."""
        self.turns += 1
        tests = {"early": self._early(f"early {self.turns}/")} if self.spec.reveal.level != "labels" else {}
        steps = lockstep({**searches, **tests}, phase=phase, snapshot=self.model)
        size = max(1, MOST_BYTES // (8 * len(self.spec.space)))
        parts: list[Answers] = []
        try:
            ask = next(steps)
            while True:
                parts, self.width = [], len(ask.rows)
                if not self.width:  # all that is left waits
                    ask = steps.send(Answers.none(len(self.spec.space)))
                    continue
                self.sent += 1
                self.solver.narrow = self.width <= _NARROW and _PLENTY * self.sent > len(self.memory.known)
                for start in range(0, len(ask.rows), size):
                    parts.append((yield replace(ask, rows=ask.rows[start : start + size])))
                ask = steps.send(Answers.concat(parts))
                if self._misled:
                    return
        except StopIteration:
            return
        except BudgetSpent:
            for part in parts:
                self.memory.learn(part)
            raise

    def _test(self) -> Generator[Ask, Answers, None]:
        """Ask further rows of leaves that share an id, and search again where an answer differs."""
        for turn in range(_ROUNDS):
            tests = self.tests.wanted(self.root, child(self.rng, f"test {turn}"), f"{turn}/")
            if not tests or self._misled:
                return
            yield from self._together(tests, "shared ids")

    def _early(self, name: str) -> Step:
        """Test leaves that share an id already while few others are still searched.

        Where it has nothing to ask it yields no rows, and so waits for the next turn.
        """
        nothing, turn = np.empty((0, len(self.spec.space))), 0
        yield nothing
        while self.width and turn < _ROUNDS:
            if self.width <= _EARLY:
                rng = child(self.rng, f"{name}{turn}")
                tests = self.tests.wanted(self.root, rng, f"{name}{turn}/", early=True)
                yield Also({f"{name}{turn} {test}": step for test, step in tests.items()})
                turn += bool(tests)
                yield nothing  # their answers come now
            yield nothing

    def _open(self) -> int:
        return sum(region.node is None and not region.dead for region in self.root.uncut())

    # ── missing values ──────────────────────────────────────────────────────────────────────────────────

    def _missing(self) -> Generator[Ask, Answers, None]:
        """Where splits send a missing value, and how many further incomplete rows agree."""
        rules = Omitted(self.spec.space, self.memory, child(self.rng, "missing"))
        yield from self._together({"rules": rules.search(self.root)}, "missing values")
        self.solver.uncertain += rules.unclear
        if self.check:
            rng = child(self.rng, "incomplete")
            rows = self.spec.space.sample(self.check, rng)
            rows[rng.random(rows.shape) < rng.random((len(rows), 1))] = np.nan
            answers = yield Ask(rows, "check of incomplete rows", "selection", self.model)
            self.memory.learn(answers)
            found, given = self.model(), answers.given
            if found is not None and len(given):
                told = found.answer(given.rows)
                mine, theirs = (told.value, given.value) if given.labels is None else (told.label, given.labels)
                assert theirs is not None
                self.incomplete = {
                    "incomplete rows checked": len(given),
                    "incomplete rows that agree": int(np.isclose(mine, theirs).sum()),
                }

    # ── the check ───────────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> Generator[Ask, Answers, tuple[int, int]]:
        """Ask uniform rows; where one disagrees, search there again, and ask others. How many agree, of how many."""
        agreed = asked = 0
        for turn in range(_ROUNDS if self.check else 0):
            if self._misled:
                break
            rows, places = self._held_back(child(self.rng, f"check {turn}"))
            if not len(rows):
                return 0, 0
            again, told = self._asked_before(child(self.rng, f"again {turn}"))
            answers = yield Ask(np.concatenate([rows, again]), "check", "selection", self.model)
            self.memory.learn(answers)
            now = [self.memory.known[row.tobytes()] for row in again]
            self.varied += sum(a != b for a, b in zip(now, told, strict=True))
            ids = np.array([self.memory.known.get((row + 0.0).tobytes(), REFUSED) for row in rows])
            wrong = [n for n, leaf in enumerate(places) if ids[n] not in (REFUSED, leaf.node)]
            asked = int((ids != REFUSED).sum())
            agreed = asked - len(wrong)
            if not wrong:
                break
            once = {id(places[n]): (n, places[n]) for n in wrong}
            searches = {
                f"check {n}": self.tests.reopen(leaf, rows[n : n + 1], f"check {turn}/{n}/")
                for n, leaf in once.values()
            }
            yield from self._together(searches, "repairs")
            yield from self._test()
        return agreed, asked

    def _asked_before(self, rng: np.random.Generator) -> tuple[Rows, list[int]]:
        """A few rows that were asked before, and their ids: whether the answers vary."""
        names = list(self.memory.known)
        chosen = [names[place] for place in rng.integers(len(names), size=max(1, self.check // 4))]
        rows = np.array([np.frombuffer(name) for name in chosen])
        return rows, [self.memory.known[name] for name in chosen]

    def _held_back(self, rng: np.random.Generator) -> tuple[Rows, list[Region]]:
        """Uniform rows that were not asked and lie in no bracket, and the leaves that they fall into."""
        rows, places = [], []
        for row in self.spec.space.sample(20 * self.check, rng):
            leaf = self._find(row)
            if leaf is not None and leaf.node is not None and (row + 0.0).tobytes() not in self.memory.known:
                rows.append(row)
                places.append(leaf)
            if len(rows) == self.check:
                break
        return np.array(rows).reshape(len(rows), len(self.spec.space)), places

    def _find(self, row: Rows) -> Region | None:
        region = self.root
        while True:
            if region.below is not None:
                region = region.below
            elif region.cut is not None:
                inside = [part for part in region.parts if part.inside(row[None])[0]]
                if not inside:
                    return None
                region = inside[0]
            else:
                return region

    def _evidence(self) -> dict[str, Any]:
        regions = self.root.uncut()
        shared = shared_ids(self.root)
        return {
            "leaves": 0 if self.memory.ids == 0 else getattr(self.model(), "n_leaves", 0),
            "ids": self.memory.ids,
            "boxes": len(regions),
            "boxes still open": self._open(),
            "boxes that share an id": len(shared),
            "of these tested further": sum(leaf.probed > 0 for leaf in shared),
            "repaired": self.tests.repaired,
            "thresholds nearer than the precision": sum(region.dead for region in regions),
            "refused": self.memory.refused,
            "unclear": self.solver.uncertain,
            **self.incomplete,
        }
