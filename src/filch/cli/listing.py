"""`filch attacks`: what there is, in a line each."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from filch import attacks
from filch.cli.console import out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("attacks", epilog="Example:  filch attacks --json")(_attacks)


def _attacks(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the attacks."""
    if as_json:
        print(json.dumps(attacks.names(), indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, line in attacks.names().items():
        table.add_row(f"[bold]{name}[/]", line)
    out.print(table)
