"""The surrogates of a committee: networks that go on from their last weights, or scikit-learn classifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from sklearn.ensemble import BaggingClassifier

from filch.attacks.committees.train import STEPS, Weights, start, train
from filch.attacks.fitting import Fitter
from filch.core.answers import Answers
from filch.core.encoding import OneHot
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.committee import CommitteeModel
from filch.models.perceptron import Activation

_NEVER = -1e3  # score of a class that was never answered
_SHARE = 0.8  # of the answers, from which each classifier learns


class Panel(Protocol):
    """Surrogates that learn from the same answers."""

    @property
    def name(self) -> str:
        """What they are."""
        ...

    def learn(self, heard: Answers) -> ExtractedModel:
        """The model for one answer or more. It tells probabilities."""
        ...

    def keep(self) -> None:
        """Learn from the state last learned, from now on."""
        ...


@dataclass(eq=False)
class Networks:
    """Networks with one hidden layer; a class that was never answered is never told.

    Parameters
    ----------
    spec : OracleSpec
    members, hidden : int
        Networks, and hidden units of each.
    activation : {"tanh", "logistic", "relu"}
    rng : Generator
    steps : int
        Of training, at most, each time.
    """

    spec: OracleSpec
    members: int
    hidden: int
    activation: Activation
    rng: np.random.Generator
    steps: int = STEPS
    _weights: list[Weights] = field(init=False)
    _learned: list[Weights] = field(init=False)

    def __post_init__(self) -> None:
        width = OneHot(self.spec.space).width + 1
        draws = [child(self.rng, f"member {number}") for number in range(self.members)]
        self._weights = [start(width, self.hidden, self.spec.n_classes, draw) for draw in draws]
        self._learned = self._weights

    @property
    def name(self) -> str:
        """What they are."""
        return f"{self.members} networks of {self.hidden} {self.activation} units"

    def learn(self, heard: Answers) -> CommitteeModel:
        """Train each network on all answers."""
        assert heard.labels is not None and self.spec.classes is not None
        matrix = np.ones((len(heard), OneHot(self.spec.space).width + 1), dtype=np.float32)
        matrix[:, :-1] = OneHot(self.spec.space).encode(heard.rows)
        self._learned = [
            train(matrix, heard.labels, begin, self.activation, steps=self.steps) for begin in self._weights
        ]
        inner = np.stack([net.inner for net in self._learned])
        outer = np.stack([net.outer for net in self._learned])
        unseen = np.setdiff1d(np.arange(self.spec.n_classes), heard.labels)
        outer[:, :, unseen] = 0.0
        outer[:, -1, unseen] = _NEVER
        return CommitteeModel(self.spec.space, self.spec.classes, inner, outer, self.activation)

    def keep(self) -> None:
        """Train on from the weights last learned."""
        self._weights = self._learned


@dataclass(eq=False)
class Bag:
    """Scikit-learn classifiers, each of which learns from a random part of the answers, afresh each time.

    Parameters
    ----------
    spec : OracleSpec
    members : int
    surrogate : classifier
    rng : Generator
    """

    spec: OracleSpec
    members: int
    surrogate: Any
    rng: np.random.Generator

    @property
    def name(self) -> str:
        """What they are."""
        return f"{self.members} of {type(self.surrogate).__name__}"

    def learn(self, heard: Answers) -> ExtractedModel:
        """Fit each classifier; on all answers while a part of them might hold one class only."""
        assert heard.labels is not None
        part = math.ceil(_SHARE * len(heard))
        mixed = len(heard) - np.bincount(heard.labels).max() > len(heard) - part
        bag = BaggingClassifier(
            self.surrogate, self.members, max_samples=part if mixed else len(heard), bootstrap=False
        )
        labels = Answers(rows=heard.rows, labels=heard.labels)
        model = Fitter(self.spec, (bag,), True, self.rng, labels).model()
        assert model is not None
        return model

    def keep(self) -> None:
        """Nothing: each fit is afresh."""
