"""From the attributes' functions to a checked model: a fit to all answers, the labels' threshold, further rows."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.attacks.binned.lines import Line
from filch.attacks.doubts import unsteady
from filch.attacks.linear.equations import solve_one_vs_rest
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome
from filch.core.features import FeatureSpace, Rows
from filch.core.oracle import OracleSpec
from filch.models.additive import AdditiveModel, Part

Floats = npt.NDArray[np.float64]
_SPARE = 1.2  # rows over the counting bound of one-vs-rest
_ROUNDED = 4  # rows for each unknown of one score, where answers are rounded
_TRIED = 4_096  # rows among which the one nearest to a threshold is looked for
_HALVINGS = 40
_NARROW = 1e-6  # a threshold known so closely is found
_FITS = 1e-9


def design(parts: Sequence[Part], space: FeatureSpace, rows: Rows, base: Rows) -> tuple[Floats, list[slice]]:
    """The rows as columns in which the model is linear: each bin and category, each linear attribute, ones.

    Returns
    -------
    matrix : (n, p)
    places : list of slice
        The columns of each part; the base row's own bin is 0.
    """
    blocks, places, start = [], [], 0
    for column, part in enumerate(parts):
        x = rows[:, column]
        given = np.flatnonzero(~np.isnan(x))
        if part.slope is not None:
            block = np.zeros((len(rows), 2))
            block[given, 0], block[given, 1] = 1.0, x[given]
            if not np.isnan(base[column]):
                block[:, 0], block[given, 1] = 0.0, x[given] - base[column]
        else:
            block = np.zeros((len(rows), len(part.values)))
            if space.sizes[column] and not part.values[-1].any():
                given = given[x[given] >= 0]  # unknown values add nothing
            block[given, _bin(part, bool(space.sizes[column]), x[given])] = 1.0
            if not np.isnan(base[column]):
                block[:, _bin(part, bool(space.sizes[column]), base[column : column + 1])[0]] = 0.0
        blocks.append(block)
        places.append(slice(start, start + block.shape[1]))
        start += block.shape[1]
    return np.hstack([*blocks, np.ones((len(rows), 1))]), places


def _bin(part: Part, categorical: bool, x: Floats) -> npt.NDArray[np.int64]:
    if categorical:
        return np.where(x < 0, len(part.values) - 1, x).astype(np.int64)
    return np.asarray(np.searchsorted(part.edges, x, side="left"), dtype=np.int64)


def fitted(
    model: AdditiveModel, answers: Answers, base: Rows, link: Literal["softmax", "ovr", "identity"], coarse: float
) -> AdditiveModel:
    """The same bins, with the weights that fit all answers best."""
    matrix, places = design(model.parts, model.space, answers.rows, base)
    used = np.abs(matrix).max(axis=0) > 0
    if link == "identity":
        assert answers.value is not None
        solved = np.linalg.lstsq(matrix[:, used], answers.value[:, None], rcond=None)[0]
    else:
        assert answers.probabilities is not None
        shares = np.maximum(answers.probabilities, max(coarse / 2, 1e-300))
        columns = matrix[:, used]
        solved = solve_one_vs_rest(columns, shares)[0] if link == "ovr" else _softmax(columns, shares, coarse)
    weights = np.zeros((matrix.shape[1], solved.shape[1]))
    weights[used] = solved
    parts = []
    for column, (part, place) in enumerate(zip(model.parts, places, strict=True)):
        block = weights[place]
        if part.slope is None:
            parts.append(replace(part, values=block))
        else:
            shift = 0.0 if np.isnan(base[column]) else base[column]
            parts.append(replace(part, values=block[:1] - shift * block[1], slope=block[1]))
    return replace(model, intercept_=weights[-1], parts=tuple(parts), link=link)


def _softmax(matrix: Floats, shares: Floats, coarse: float) -> Floats:
    """Least squares on log-ratios, each row as heavy as its smallest probability is precise."""
    weight = 1.0 / (1.0 + coarse / shares.min(axis=1) / 1e-3) if coarse else np.ones(len(shares))
    logs = np.log(shares)
    wanted = (logs - logs.mean(axis=1, keepdims=True)) * weight[:, None]
    return np.asarray(np.linalg.lstsq(matrix * weight[:, None], wanted, rcond=None)[0])


def missing_rows(model: AdditiveModel, base: Rows, heard: Rows, link: str, paper: bool, coarse: float) -> int:
    """How many rows a fit needs on top of those heard; rows that give the same bins count once."""
    matrix, _ = design(model.parts, model.space, heard, base)
    unknowns, classes = matrix.shape[1], len(model.intercept_)
    if paper:  # c(d + 1) rows; d + 1 for two classes or a value
        d = sum(1 if part.slope is not None else len(part.values) for part in model.parts)
        return int(max(0, (classes if classes > 2 else 1) * (d + 1) - len(heard)))
    different = len(np.unique(matrix, axis=0))
    if link == "ovr":
        widest = max(len(part.values) for part in model.parts)
        wanted = math.ceil(_SPARE * unknowns * classes / (classes - 1))
        return int(max(2 * widest, wanted - different))
    return _ROUNDED * unknowns if coarse else 0


def some_rows(spec: OracleSpec, n: int, rng: np.random.Generator) -> Rows:
    """Uniform rows, with half of the attributes omitted where that is accepted."""
    rows = spec.space.sample(n, rng)
    if spec.omission:
        rows[rng.random(rows.shape) < 0.5] = np.nan
    return rows


def spread_rows(spec: OracleSpec, lines: dict[int, Line], n: int, rng: np.random.Generator) -> Rows:
    """Full rows that hold each bin and category about equally often."""
    rows = spec.space.sample(n, rng)
    for column, size in enumerate(spec.space.sizes.tolist()):
        places = np.arange(size, dtype=np.float64) if size else np.array(lines[column].places())
        if len(places):
            cycles = [rng.permutation(places) for _ in range(-(-n // len(places)))]
            rows[:, column] = np.concatenate(cycles)[:n]
    return rows


def clear(rows: Rows, lines: dict[int, Line]) -> npt.NDArray[np.bool_]:
    """Which rows hold no value in an interval where an edge may still be."""
    found = np.ones(len(rows), dtype=bool)
    for column, line in lines.items():
        if line.linear is None and not line.step:
            for low, high in line.edges:
                found &= ~((rows[:, column] > low) & (rows[:, column] < high))
    return found


def clear_rows(
    model: AdditiveModel, lines: dict[int, Line], n: int, spec: OracleSpec, rng: np.random.Generator
) -> Rows:
    """Rows to check a model on, clear of intervals that hold an edge; with two classes, some near ½."""
    rows = np.concatenate([spec.space.sample(_TRIED // 2, rng), some_rows(spec, _TRIED // 2, rng)])
    chosen = rows[clear(rows, lines)]
    rows = chosen if len(chosen) >= n else rows
    rows = rows[rng.permutation(len(rows))]
    if spec.n_classes != 2 or n < 4:
        return rows[:n]
    share = model.predict_proba(rows)[:, 1] - 0.5
    near = [int(np.where(side, np.abs(share), np.inf).argmin()) for side in (share > 0, share < 0) if side.any()]
    rest = [place for place in range(n) if place not in near][: n - len(near)]
    return np.asarray(rows[[*near, *rest]])


def threshold(
    model: AdditiveModel, heard: Answers, spec: OracleSpec, rng: np.random.Generator
) -> Generator[Ask, Answers, float]:
    """The lowest probability of the second class that makes it the label; asks only where labels disagree with ½."""
    if spec.n_classes != 2 or heard.labels is None or heard.probabilities is None:
        return 0.5

    def bracket(answers: Answers) -> tuple[float, float]:
        assert answers.labels is not None and answers.probabilities is not None
        second, share = answers.labels == 1, answers.probabilities[:, 1]
        return float(share[~second].max(initial=0.0)), float(share[second].min(initial=1.0))

    low, high = bracket(heard)
    if low < 0.5 <= high or low >= high:
        return 0.5
    for _ in range(_HALVINGS):
        rows = some_rows(spec, _TRIED, rng)
        share = model.predict_proba(rows)[:, 1]
        inside = (share > low) & (share < high)
        if high - low < _NARROW or not inside.any():
            break
        middle = int(np.where(inside, np.abs(share - (low + high) / 2), np.inf).argmin())
        answers = (yield Ask(rows[middle : middle + 1], "threshold", snapshot=lambda: model)).given
        if len(answers):
            below, above = bracket(answers)
            low, high = max(low, below), min(high, above)
    for decimals in range(1, 12):  # thresholds are set by hand
        round_ = np.floor(high * 10**decimals) / 10**decimals
        if low < round_ <= high:
            return float(round_)
    return (low + high) / 2


def verdict(
    model: AdditiveModel, held: Answers, spec: OracleSpec, coarse: float, evidence: dict[str, object]
) -> Generator[Ask, Answers, Finding]:
    """Hold a model against further rows."""
    held = held.given
    if not len(held):
        return Finding(model, Outcome.UNVERIFIED, "no further row was answered", evidence)
    if spec.classes is None:
        assert held.value is not None
        scale = max(1.0, float(np.abs(held.value).max()))
        off = np.abs(model.predict(held.rows) - held.value) / scale
    else:
        assert held.probabilities is not None
        off = 0.5 * np.abs(model.predict_proba(held.rows) - held.probabilities).sum(axis=1)
    worst = float(off.max())
    evidence = {**evidence, "worst": worst}
    if worst <= max(_FITS, coarse * max(1, spec.n_classes)):
        return Finding(model, Outcome.VERIFIED, f"{len(held)} further rows differ by at most {worst:.1e}", evidence)
    if coarse > 0:
        reason = f"answers are rounded; {len(held)} further rows differ by at most {worst:.1e}"
        return Finding(model, Outcome.APPROXIMATE, reason, evidence)
    if (why := (yield from unsteady(held))) is not None:
        return Finding(model, Outcome.NO_CONVERGENCE, f"{why}; the model is a fit to noise", evidence)
    reason = f"{len(held)} further rows differ by up to {worst:.1e}: no sum of steps and lines, or a step was missed"
    return Finding(model, Outcome.CLASS_MISMATCH, reason, evidence)
