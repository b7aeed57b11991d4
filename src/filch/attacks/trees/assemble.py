"""From searched boxes to a tree that predicts."""

from __future__ import annotations

import math

import numpy as np

from filch.attacks.trees.certify import certified
from filch.attacks.trees.memory import Memory
from filch.attacks.trees.regions import Cut, Region
from filch.core.oracle import OracleSpec
from filch.models.trees.build import STOP, Node, Split
from filch.models.trees.tree import TreeModel


def assemble(root: Region, memory: Memory, spec: OracleSpec, *, proof: bool = False) -> TreeModel | None:
    """The tree found so far; None before the first answer.

    A box that is not searched to its end answers what most rows asked in it were told. Boxes beside each other with the
    same answer are one leaf. With ``proof`` it carries the tests behind it.
    """
    if not memory.ids:
        return None
    top = _Part(root)
    stack, order = [top], []
    while stack:
        part = stack.pop()
        order.append(part)
        stack.extend(part.parts)
    shows_shares = spec.reveal.shows_probabilities and not any(np.isnan(shares).any() for shares in memory.shares)
    for part in reversed(order):  # parts before the whole
        part.finish(memory, spec, shows_shares)
    top.inherit(memory, spec, shows_shares)
    tree = TreeModel.build(spec.space, spec.classes, top.node)
    if not proof:
        return tree
    cuts = {id(part.node): part.region.cut for part in order}
    nothing = (math.nan, math.nan)
    brackets = [nothing] * len(tree.column)
    for place, node in enumerate(top.node.walk()):
        cut = cuts[id(node)]
        if cut is not None and not cut.groups and node.children:
            brackets[place] = (cut.low, cut.high)
    return certified(tree, brackets, memory)


class _Part:
    """A region on its way to becoming a node."""

    def __init__(self, region: Region) -> None:
        self.own: int | None = None
        """The id that incomplete rows get here."""
        while region.cut is None and region.below is not None:
            if self.own is None:
                self.own = region.node
            region = region.below
        if region.told is not None:
            self.own = region.told
        self.region = region
        self.parts = [_Part(part) for part in region.parts]
        self.node = Node()
        self.id: int | None = None
        self.tally: dict[int, int] = {}

    def finish(self, memory: Memory, spec: OracleSpec, shares: bool) -> None:
        """Make the node, once its parts are made."""
        region = self.region
        if region.cut is None:
            self.id = region.node
            if self.id is None:
                self.id = max(set(region.ids), key=region.ids.count) if region.ids else self.own
        else:
            kinds = {part.id for part in self.parts if not part.node.children}
            leaves_only = not any(part.node.children for part in self.parts)
            if len(kinds) == 1 and leaves_only and self.own in (None, self.parts[0].id):
                self.id = self.parts[0].id
            else:
                self.node.split = _split(region.cut, spec, region.missing)
                self.node.children = [part.node for part in self.parts]
        if self.node.children:
            for part in self.parts:
                for number, count in part.tally.items():
                    self.tally[number] = self.tally.get(number, 0) + count
        elif self.id is not None:
            self.tally = {self.id: 1}
        told = self.own if self.own is not None else self.id
        if told is None and self.tally:
            told = max(self.tally, key=lambda number: self.tally[number])
        if told is not None:
            tell(self.node, told, memory, shares)

    def inherit(self, memory: Memory, spec: OracleSpec, shares: bool) -> None:
        """Parts in which nothing was asked answer as the whole does."""
        stack = [self]
        while stack:
            part = stack.pop()
            if not part.tally:
                part.tally = {0: 1}
                tell(part.node, 0, memory, shares)
            for below in part.parts:
                if not below.tally:
                    below.tally = part.tally
                    tell(below.node, max(part.tally, key=lambda number: part.tally[number]), memory, shares)
            stack.extend(part.parts)


def tell(node: Node, number: int, memory: Memory, shares: bool) -> None:
    """Make a node answer what an id stands for."""
    node.label, node.value = memory.label[number], memory.value[number]
    node.confidence = memory.confidence[number]
    node.distribution = memory.shares[number].tolist() if shares else ()


def _split(cut: Cut, spec: OracleSpec, missing: int) -> Split:
    if not cut.groups:
        return Split(cut.column, cut.threshold, missing=missing)
    largest = max(range(len(cut.groups)), key=lambda place: len(cut.groups[place]))
    places = [largest] * int(spec.space.sizes[cut.column])
    for place, group in enumerate(cut.groups):
        for code in group:
            places[code] = place
    rest = [place for place, group in enumerate(cut.groups) if len(group) > 1]
    return Split(cut.column, None, tuple(places), largest if len(rest) == 1 else STOP, missing)
