"""Decision trees as text, as Graphviz source, as SVG, and as arrays like those of scikit-learn's ``tree_``."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filch.core.columns import Categorical
from filch.core.encoding import OneHot

if TYPE_CHECKING:
    from filch.models.trees.tree import TreeModel

_WIDTH, _HEIGHT, _GAP, _ROW = 132, 34, 10, 66  # of a node of the picture, and between nodes
_LETTERS = 20  # of a line in it


def rule(tree: TreeModel, child: int) -> str:
    """What a row must satisfy to go to a node from its parent."""
    parent = int(tree.parent[child])
    column = int(tree.column[parent])
    feature = tree.space.features[column]
    routes = tree.route[tree.start[parent] : tree.start[parent + 1]]
    also = ["missing"] if routes[0] == child else []
    if not isinstance(feature, Categorical):
        if np.isinf(tree.threshold[parent]):  # a split on whether the value is there
            return f"{feature.name} is missing" if also else f"{feature.name} is given"
        sign = "≤" if routes[2] == child else ">"
        return " or ".join([f"{feature.name} {sign} {tree.threshold[parent]:.10g}", *also])
    also = (["unknown"] if routes[1] == child else []) + also
    named = [str(name) for name, route in zip(feature.categories, routes[2:], strict=True) if route == child]
    if len(named) == 1:
        return " or ".join([f"{feature.name} = {named[0]}", *also])
    return " or ".join([f"{feature.name} in {{{', '.join(named)}}}", *also])


def answer(tree: TreeModel, node: int) -> str:
    """What a node says."""
    told = f"{tree.value[node]:.6g}" if tree.classes is None else str(tree.classes[tree.label[node]])
    confidence = tree.confidence[node]
    return told if np.isnan(confidence) else f"{told} ({confidence:.5g})"


def to_text(tree: TreeModel) -> str:
    """The tree as indented rules, a line for each branch; leaves with their answers."""
    if tree.n_leaves == 1:
        return f"{answer(tree, 0)}\n"
    lines = []
    for node in range(1, len(tree.column)):
        end = f": {answer(tree, node)}" if tree.column[node] < 0 else ""
        lines.append(f"{'|   ' * (int(tree.depth[node]) - 1)}|-- {rule(tree, node)}{end}")
    return "\n".join(lines) + "\n"


def to_dot(tree: TreeModel) -> str:
    """The tree in Graphviz's language."""
    lines = ["digraph tree {", "  node [shape=box, fontname=sans];", "  edge [fontname=sans, fontsize=10];"]
    for node in range(len(tree.column)):
        split = int(tree.column[node])
        label = answer(tree, node) if split < 0 else tree.space.names[split]
        style = ", style=rounded" if split < 0 else ""
        lines.append(f"  {node} [label={_quoted(label)}{style}];")
        if node:
            lines.append(f"  {int(tree.parent[node])} -> {node} [label={_quoted(rule(tree, node))}];")
    return "\n".join([*lines, "}"]) + "\n"


def to_svg(tree: TreeModel) -> str:
    """The tree as a picture that needs no other program; whole rules are shown where the pointer rests."""
    across = _places(tree)
    width = int((across.max() + 1) * (_WIDTH + _GAP) + _GAP)
    height = int((tree.depth.max() + 1) * _ROW + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        "<title>Decision tree</title>",
    ]
    x = _GAP + across * (_WIDTH + _GAP)
    y = _GAP + tree.depth * _ROW
    for node in range(1, len(x)):
        parent = int(tree.parent[node])
        start, end = x[parent] + _WIDTH / 2, x[node] + _WIDTH / 2
        parts.append(f'<line x1="{start:.0f}" y1="{y[parent] + _HEIGHT}" x2="{end:.0f}" y2="{y[node]}" stroke="#888"/>')
    for node in range(len(x)):
        leaf = tree.column[node] < 0
        lines = [rule(tree, node)] if node else []
        lines.append(answer(tree, node) if leaf else f"{tree.space.names[int(tree.column[node])]}?")
        parts.append(f"<g><title>{escape('; '.join(lines))}</title>")
        fill, corner = ("#eef6ee", 8) if leaf else ("#fff", 0)
        parts.append(
            f'<rect x="{x[node]:.0f}" y="{y[node]}" width="{_WIDTH}" height="{_HEIGHT}" rx="{corner}" fill="{fill}" '
            'stroke="#444"/>'
        )
        for place, line in enumerate(lines):
            shown = line if len(line) <= _LETTERS else line[: _LETTERS - 1] + "…"
            parts.append(f'<text x="{x[node] + 6:.0f}" y="{y[node] + 14 + 14 * place}">{escape(shown)}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def to_arrays(tree: TreeModel) -> dict[str, npt.NDArray[Any]]:
    """Arrays named as those of scikit-learn's ``tree_``, over the one-hot columns with numbers as they are.

    Returns
    -------
    dict
        ``children_left``, ``children_right``, ``feature``, ``threshold`` (−1 and −2 in leaves, as in scikit-learn),
        ``node`` (the tree's own node that answers), and ``feature_names``. A row goes left where
        ``x[feature] ≤ threshold``. A split into groups of categories is a chain of tests for one category each; those
        of one group lead to the same node, so that a group's branch is shared and not copied. Unknown and missing
        values are 0 in all columns of their block.
    """
    view = OneHot(tree.space)
    left, right, feature, own = [-1], [-1], [-2], [-1]
    threshold = [-2.0]
    first = {0: 0}
    stack = [0]
    while stack:
        node = stack.pop()
        at = first[node]
        own[at] = node
        column = int(tree.column[node])
        if column < 0:
            continue

        def make() -> int:
            for array, empty in ((left, -1), (right, -1), (feature, -2), (own, -1)):
                array.append(empty)
            threshold.append(-2.0)
            return len(left) - 1

        children = tree.child[tree.child_start[node] : tree.child_start[node] + tree.n_children[node]].tolist()
        for child in children:
            first[child] = make()
        stack.extend(children)
        routes = tree.route[tree.start[node] + 2 : tree.start[node + 1]].tolist()
        start = int(view.starts[column])
        if not np.isnan(tree.threshold[node]):
            left[at], right[at] = first[routes[0]], first[routes[1]]
            feature[at], threshold[at] = start, float(tree.threshold[node])
            continue
        rest = max(children, key=routes.count)
        tests = [(code, child) for code, child in enumerate(routes) if child != rest and child >= 0]
        for place, (code, child) in enumerate(tests):
            feature[at], threshold[at], right[at] = start + code, 0.5, first[child]
            left[at] = first[rest] if place == len(tests) - 1 else make()
            own[left[at]] = node
            at = left[at]
    return {
        "children_left": np.array(left),
        "children_right": np.array(right),
        "feature": np.array(feature),
        "threshold": np.array(threshold, dtype=np.float64),
        "node": np.array(own),
        "feature_names": np.array(view.names),
    }


def _places(tree: TreeModel) -> npt.NDArray[np.float64]:
    """Where each node lies across: leaves side by side, others over the middle of their children."""
    across = np.zeros(len(tree.column))
    across[tree.leaves_] = np.arange(tree.n_leaves)
    for node in range(len(across) - 1, -1, -1):  # children come after their parents
        if tree.column[node] >= 0:
            below = tree.child[tree.child_start[node] : tree.child_start[node] + tree.n_children[node]]
            across[node] = (across[below[0]] + across[below[-1]]) / 2
    return across


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
