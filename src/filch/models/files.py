"""Files of extracted models: arrays as ``.npz``, facts and schema as JSON inside; nothing is pickled."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filch.core.features import FeatureSpace
from filch.errors import UsageError


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes
    ----------
    kind : str
        The sort of model: ``logistic``, ``perceptron``, …
    facts : dict
        JSON-able facts.
    space : FeatureSpace
    arrays : dict of str to array
    """

    kind: str
    facts: dict[str, Any]
    space: FeatureSpace
    arrays: dict[str, npt.NDArray[Any]]


def write(
    path: str | Path, kind: str, facts: Mapping[str, Any], space: FeatureSpace, arrays: Mapping[str, npt.NDArray[Any]]
) -> Path:
    """Write a model as ``.npz``; returns the path with that ending."""
    path = Path(path).with_suffix(".npz")
    np.savez(
        path,
        facts=np.array(json.dumps({"kind": kind, **facts})),
        space=np.array(space.to_json().decode()),
        **arrays,  # type: ignore[arg-type]  # numpy's stub takes any keyword for allow_pickle
    )
    return path


def read(path: str | Path) -> Stored:
    """Read what `write` wrote.

    Raises
    ------
    UsageError
        The file is missing or no such model.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            facts = json.loads(str(stored["facts"]))
            space = FeatureSpace.from_json(str(stored["space"]))
            arrays = {name: stored[name] for name in stored.files if name not in ("facts", "space")}
            return Stored(str(facts.pop("kind")), facts, space, arrays)
    except (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no saved model: {' '.join(str(error).split())[:160]}") from error
