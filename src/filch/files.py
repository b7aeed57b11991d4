"""Reading what users have on disk: fitted models and tables of raw columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from filch.errors import UntrustedFile, UsageError


def load_model(path: str | Path, *, trust: bool = False) -> Any:
    """Load a fitted model from a ``.joblib``, ``.pkl`` or ``.skops`` file.

    Parameters
    ----------
    path : path
    trust : bool, default False
        Whether a pickle may be loaded: unpickling runs whatever code the file holds. A ``.skops`` file holds none.

    Raises
    ------
    UntrustedFile
        A pickle without ``trust``, or a ``.skops`` file with types that skops does not know.
    UsageError
        No such file, or one that cannot be read.
    """
    path = Path(path)
    if path.suffix == ".npz":
        raise UsageError(f"{path} is a copy that filch saved: name the model itself, as a file or address")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    if path.suffix == ".skops":
        return load_skops(path, trust=trust)
    if not trust:
        raise UntrustedFile(
            f"loading {path} runs the code in it: pass --trust (trust=True) if it is yours, or save it with skops"
        )
    try:
        model = joblib.load(path)
    except Exception as error:  # unpickling raises whatever the file makes it raise
        told = " ".join(str(error).split())[:160]
        raise UsageError(
            f"{path} cannot be loaded ({type(error).__name__}: {told}): save it anew, by the versions installed here"
        ) from error
    if not hasattr(model, "predict"):
        raise UsageError(
            f"{path} holds a {type(model).__name__}, not a fitted model: save the estimator or pipeline itself"
        )
    return model


def load_table(path: str | Path, target: str | None = None) -> tuple[pd.DataFrame, pd.Series[Any] | None]:
    """Load raw columns from a CSV (also ``.gz``) or Parquet file.

    Parameters
    ----------
    path : path
    target : str, optional
        The column that the model predicts.

    Returns
    -------
    X : DataFrame
        All columns but the target.
    y : Series or None
        The target column.

    Raises
    ------
    UsageError
        No such file, one that is no table, an empty one, or one without the target column.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError, ImportError, EOFError) as error:
        raise UsageError(f"{path} cannot be read as a table: {' '.join(str(error).split())[:160]}") from error
    if frame.empty:
        raise UsageError(f"{path} has no rows")
    if target is None:
        return frame, None
    if target not in frame.columns:
        names = ", ".join(map(str, frame.columns[:8])) + (", …" if len(frame.columns) > 8 else "")
        raise UsageError(f"{path} has no column {target!r} to leave out as the target; it has {names}")
    return frame.drop(columns=target), frame[target]


def load_skops(path: Path, *, trust: bool = False) -> Any:
    """Load what a ``.skops`` file holds.

    Raises
    ------
    UntrustedFile
        Types that skops does not know, without ``trust``.
    UsageError
        A damaged file, or no skops installed.
    """
    try:
        from skops import io
    except ImportError as error:
        raise UsageError(f"{path} needs skops: pip install 'filch[skops]'") from error
    try:
        unknown = io.get_untrusted_types(file=path)
        if not unknown or trust:
            return io.load(path, trusted=unknown)
    except Exception as error:  # a damaged archive raises whatever its parts raise
        raise UsageError(f"{path} is no skops file: {' '.join(str(error).split())[:160]}") from error
    raise UntrustedFile(f"{path} holds types that skops does not know ({unknown[0]}): pass --trust if it is yours")
