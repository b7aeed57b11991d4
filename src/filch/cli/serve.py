"""`filch serve`: a model behind a real prediction API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from filch.audit import local_oracle
from filch.cli import target as options
from filch.cli.console import out
from filch.core.features import FeatureSpace
from filch.errors import UsageError
from filch.files import load_model, load_table
from filch.services import dialects
from filch.services.server import serve


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", epilog=_EXAMPLES)(_serve)


_EXAMPLES = """Examples:

filch serve model.joblib --trust --data customers.csv --target churn --port 8080

filch serve model.joblib --trust --data customers.csv --target churn --dialect mlflow --decimals 3

filch serve model.joblib --trust --data customers.csv --target churn --dialect amazon-ml --port 8080

filch serve tree.json --dialect bigml --port 8080 --credits 5000 --price 0.005
"""


def _serve(
    where: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model file (.joblib, .skops); for bigml .json, .npz.")
    ],
    data: options.Data = None,
    column: options.Column = None,
    trust: options.Trust = False,
    dialect: options.Dialect = "kserve-v2",
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 0,
    name: Annotated[str, typer.Option("--name", help="The model's name in paths.")] = "model",
    reveal: options.Shown = None,
    decimals: options.Decimals = None,
    max_batch: Annotated[int, typer.Option("--max-batch", help="The most rows in one request.")] = 1_000,
    white_box: Annotated[bool, typer.Option("--white-box", help="bigml: show the model itself.")] = False,
    credits: Annotated[float | None, typer.Option("--credits", help="bigml: what predictions are paid with.")] = None,
    price: Annotated[float, typer.Option("--price", help="bigml: the credits that a prediction costs.")] = 0.0,
) -> None:
    """Serve a model over HTTP, until Ctrl-C.

    A scikit-learn model is served by KServe's or MLflow's protocol, or as Amazon ML did if it takes missing values.

    A model in BigML's JSON, or a tree that filch saved, is served as BigML does.
    """
    if dialect == "bigml":
        _serve_bigml(where, host, port, white_box, credits, price)
        return
    if dialect not in (*dialects.names(), "amazon-ml"):
        raise UsageError(f"no dialect {dialect!r}: choose {', '.join(dialects.names())}, bigml or amazon-ml")
    if white_box or credits is not None or price:
        raise UsageError("--white-box, --credits and --price belong to --dialect bigml")
    model = load_model(where, trust=trust)
    if dialect == "amazon-ml":
        if reveal or decimals is not None:
            raise UsageError("--dialect amazon-ml shows all scores in 16 digits: leave out --reveal and --decimals")
        _serve_amazon(model, where, data, column, host, port, name)
        return
    if data is None:
        raise UsageError("serving needs --data TABLE (and --target COLUMN) to read the model's input columns from")
    spec = local_oracle(model, load_table(data, column)[0]).spec
    serve(
        model,
        spec.space,
        dialect=dialect,
        host=host,
        port=port,
        name=name,
        reveal=reveal or spec.reveal,
        decimals=decimals,
        omission=spec.omission,
        max_batch=max_batch,
        on_ready=lambda url: _tell(where, url),
    )


def _serve_bigml(where: str, host: str, port: int, white_box: bool, credits: float | None, price: float) -> None:
    from filch.services.bigml.account import Account
    from filch.services.bigml.server import serve_bigml

    account = Account(credits=credits, price=price)
    account.username = os.environ.get("BIGML_USERNAME") or account.username
    account.api_key = os.environ.get("BIGML_API_KEY") or account.api_key

    def tell(url: str) -> None:
        cost = f"{price:g} credits a prediction" if price else "predictions are free"
        left = "" if credits is None else f", {credits:g} credits in the account"
        _tell(where, url)
        lines = [f"BIGML_USERNAME={account.username}", f"BIGML_API_KEY={account.api_key}", f"{cost}{left}"]
        out.print("\n".join(lines), highlight=False, soft_wrap=True)

    serve_bigml(where, host=host, port=port, account=account, white_box=white_box, on_ready=tell)


def _serve_amazon(
    model: Any, where: str, data: Path | None, column: str | None, host: str, port: int, name: str
) -> None:
    from filch.services.amazon_ml.account import AmazonAccount
    from filch.services.amazon_ml.server import serve_amazon

    if data is None:
        raise UsageError("serving needs --data TABLE (and --target COLUMN) to read the model's input columns from")
    space = FeatureSpace.from_frame(load_table(data, column)[0], missing="omit")
    account = AmazonAccount()
    account.access_key = os.environ.get("AWS_ACCESS_KEY_ID") or account.access_key
    account.secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY") or account.secret_key

    def tell(url: str) -> None:
        _tell(where, url)
        lines = [f"AWS_ACCESS_KEY_ID={account.access_key}", f"AWS_SECRET_ACCESS_KEY={account.secret_key}"]
        out.print("\n".join(lines), highlight=False, soft_wrap=True)

    serve_amazon(model, space, name=name, host=host, port=port, account=account, on_ready=tell)


def _tell(where: str, url: str) -> None:
    out.print(f"serving {where} at [bold]{url}[/]  (Ctrl-C ends it)", highlight=False, soft_wrap=True)
