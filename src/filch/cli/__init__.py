"""The command line: parse, call the library, print, exit.

Exit codes: 0 done; 2 an error, told in one line; 3 ``--fail-under`` not met; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import filch
from filch.cli import audit, demo, extract, listing, reproduce, serve
from filch.cli.console import complain
from filch.errors import FilchError


class _Interrupted(Exception):
    """A Ctrl-C on its way out of Click, which would swallow what it says."""


class _Closed(Exception):
    """The reader of our output has gone: on its way out of Click, which would call that an error."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise _Interrupted(str(stop)) from None
        except BrokenPipeError:
            raise _Closed from None


app = typer.Typer(
    name="filch",
    cls=_Commands,
    help="Find out how fast a prediction API gives its model away, and what to do about it.",
    epilog="Start with:  filch demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (demo, audit, extract, serve, reproduce, listing):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"filch {filch.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv[1:]`` by default.
    """
    try:
        app(arguments, standalone_mode=True)
    except FilchError as error:
        complain(str(error))
        sys.exit(2)
    except (KeyboardInterrupt, _Interrupted) as stop:
        complain(str(stop).removeprefix("stopped; ") or "interrupted", kind="stopped")
        sys.exit(130)
    except (BrokenPipeError, _Closed):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes into it once more
        sys.exit(0)
    except OSError as error:  # a full disk, mostly
        complain(f"{error.filename or 'a file'}: {error.strerror or error}; make room, or choose another place")
        sys.exit(2)
