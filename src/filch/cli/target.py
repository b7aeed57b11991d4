"""The target that a command line names: a model file, or the address of an API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from filch.audit import local_oracle
from filch.core.answers import Reveal
from filch.core.features import FeatureSpace
from filch.core.oracle import ModelOracle, Oracle
from filch.errors import UsageError
from filch.files import load_model, load_table
from filch.services.amazon_ml.oracle import SCHEME as AMAZON
from filch.services.amazon_ml.oracle import connect_amazon
from filch.services.bigml.oracle import SCHEME, connect_bigml
from filch.services.client import connect

Where = Annotated[str, typer.Argument(metavar="MODEL|URL", help="A model file (.joblib, .skops), or an API's address.")]
Data = Annotated[Path | None, typer.Option("--data", help="A table (CSV, Parquet) of the model's raw columns.")]
Column = Annotated[str | None, typer.Option("--target", help="The column of the table that the model predicts.")]
Trust = Annotated[bool, typer.Option("--trust", help="Load a pickled model: this runs the code in the file.")]
Dialect = Annotated[
    str, typer.Option("--dialect", help="The API's protocol: kserve-v2, mlflow; to serve also bigml, amazon-ml.")
]
Shown = Annotated[
    str | None, typer.Option("--reveal", help="What answers show: probabilities, top-1 …, labels, value, scores, node.")
]
Decimals = Annotated[int | None, typer.Option("--decimals", help="The decimals that answers are rounded to.")]
Classes = Annotated[
    str | None, typer.Option("--classes", help="The class names, comma-separated, if no metadata says.")
]
MaxBatch = Annotated[int | None, typer.Option("--max-batch", help="The most rows in one request.")]
Concurrency = Annotated[int, typer.Option("--concurrency", help="Requests in flight at once.")]
Rate = Annotated[float | None, typer.Option("--rate", help="The most requests a second.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for an answer; a time-out is paid.")]
HeaderEnv = Annotated[
    list[str] | None,
    typer.Option("--header-env", metavar="HEADER=VARIABLE", help="Send a header from an environment variable."),
]
CaFile = Annotated[Path | None, typer.Option("--ca-file", help="The authorities that sign the server's certificate.")]
Authorized = Annotated[
    str | None,
    typer.Option("--i-am-authorized", metavar="NAME", help="Who authorizes the audit of a host that is not this one."),
]


@dataclass(frozen=True)
class Target:
    """Everything that says where the target is and how to talk to it."""

    where: str
    data: Path | None = None
    column: str | None = None
    trust: bool = False
    dialect: str = "kserve-v2"
    reveal: str | None = None
    decimals: int | None = None
    classes: str | None = None
    max_batch: int | None = None
    concurrency: int = 4
    rate: float | None = None
    timeout: float = 30.0
    header_env: list[str] | None = None
    ca_file: Path | None = None
    authorized_by: str | None = None

    @property
    def remote(self) -> bool:
        """Whether the target is an address."""
        return "://" in self.where

    def table(self) -> pd.DataFrame | None:
        """The raw columns, without the target column."""
        return None if self.data is None else load_table(self.data, self.column)[0]

    def oracle(self, table: pd.DataFrame | None) -> Oracle:
        """Query access to the target.

        Raises
        ------
        FilchError
            The model cannot be loaded, or the API does not answer; see `filch.errors`.
        """
        if not self.remote:
            self._refuse("a model file", "--dialect", "--classes", "--timeout", "--header-env", "--ca-file")
            return self._local(table)
        if self.where.startswith(SCHEME):
            return self._bigml()
        if self.where.startswith(AMAZON):
            return self._amazon(table)
        return connect(
            self.where,
            dialect=self.dialect,
            space=None if table is None else FeatureSpace.from_frame(table, missing="category"),
            classes=None if self.classes is None else [_plain(name) for name in self.classes.split(",")],
            reveal=self.reveal,
            decimals=self.decimals,
            max_batch=self.max_batch,
            concurrency=self.concurrency,
            rate=self.rate,
            timeout=self.timeout,
            headers_env=dict(_pair(text) for text in self.header_env or ()),
            verify=True if self.ca_file is None else self.ca_file,
            authorized_by=self.authorized_by,
        )

    def _bigml(self) -> Oracle:
        told = ("--data", "--classes", "--decimals", "--max-batch")
        self._refuse("bigml://", "--dialect", *told, "--header-env", "--ca-file")
        return connect_bigml(
            self.where,
            reveal=self.reveal,
            concurrency=self.concurrency,
            rate=self.rate,
            timeout=self.timeout,
            authorized_by=self.authorized_by,
        )

    def _amazon(self, table: pd.DataFrame | None) -> Oracle:
        shown = ("--reveal", "--decimals", "--max-batch")
        self._refuse("amazon-ml://", "--dialect", *shown, "--header-env", "--ca-file")
        return connect_amazon(
            self.where,
            space=None if table is None else FeatureSpace.from_frame(table, missing="omit"),
            classes=None if self.classes is None else [name.strip() for name in self.classes.split(",")],
            concurrency=self.concurrency,
            rate=self.rate,
            timeout=self.timeout,
            authorized_by=self.authorized_by,
        )

    def _refuse(self, kind: str, *names: str) -> None:
        """Say that an option was given which this kind of target does not heed."""
        unset = Target(self.where)
        for name in names:
            attribute = name.removeprefix("--").replace("-", "_")
            if getattr(self, attribute) not in (None, [], getattr(unset, attribute)):
                raise UsageError(f"{kind} takes no {name}: leave it out")

    def _local(self, table: pd.DataFrame | None) -> Oracle:
        model = load_model(self.where, trust=self.trust)
        if table is None:
            raise UsageError("a model file needs --data TABLE (and --target COLUMN) to read its input columns from")
        oracle = local_oracle(model, table)
        if self.reveal is None and self.decimals is None and self.max_batch is None:
            return oracle
        spec = oracle.spec
        shown = Reveal(self.reveal or spec.reveal.level, self.decimals)
        return ModelOracle(model, spec.space, reveal=shown, omission=spec.omission, max_batch=self.max_batch)


def _pair(text: str) -> tuple[str, str]:
    header, sign, variable = text.partition("=")
    if not (header and sign and variable):
        raise UsageError(f"--header-env takes HEADER=VARIABLE, got {text!r}")
    return header, variable


def _plain(text: str) -> Any:
    name = text.strip()
    return int(name) if name.lstrip("-").isdigit() else name
