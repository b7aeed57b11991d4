"""filch: find out how fast a prediction API gives its model away, and what to do about it.

::

    space = filch.FeatureSpace.from_frame(frame)
    oracle = filch.ModelOracle(model, space, reveal="probabilities")
    run = filch.extract(oracle, attack="logistic", budget=1_000)
    print(run.outcome, run.queries, filch.fidelity(oracle, run.model))
"""

from filch import errors
from filch.attacks.inversion import invert
from filch.audit import audit
from filch.core.answers import Answers, Reveal
from filch.core.attack import Also, Ask, Attack, Finding, Outcome, Steps, lockstep
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.journal import Journal
from filch.core.models import ExtractedModel
from filch.core.oracle import ModelOracle, Oracle, OracleSpec
from filch.core.run import Run
from filch.evaluate import Evaluation, Fidelity, fidelity, parameter_error
from filch.extraction import extract
from filch.services.client import connect

__version__ = "0.1.0"

__all__ = [
    "Also",
    "Answers",
    "Ask",
    "Attack",
    "Categorical",
    "Evaluation",
    "ExtractedModel",
    "FeatureSpace",
    "Fidelity",
    "Finding",
    "Journal",
    "ModelOracle",
    "Numeric",
    "OneHot",
    "Oracle",
    "OracleSpec",
    "Outcome",
    "Reveal",
    "Run",
    "Steps",
    "audit",
    "connect",
    "errors",
    "extract",
    "fidelity",
    "invert",
    "lockstep",
    "parameter_error",
]
