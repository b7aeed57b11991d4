"""A digest of code: what a kept result rests on beside its settings."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import filch

_ROOT = Path(filch.__file__).parent
_APART = ("filch", "filch.paper", "filch.datasets")
"""Not followed: the first two gather all there is, so that a study names its modules; a target's fingerprint stands for
its data."""


def code_of(*modules: str) -> str:
    """A digest of modules, and of all that these import from filch, except from `filch.paper` and `filch.datasets`.

    Comments, docstrings and layout do not count. The files are read once a process, when first asked for.

    Parameters
    ----------
    *modules : str
        Names in full; those outside filch are left out: the versions of packages stand for them.

    Examples
    --------
    >>> code_of("filch.attacks.logistic") == code_of("filch.attacks.logistic", "numpy")
    True
    >>> code_of("filch.attacks.logistic") == code_of("filch.attacks.lowd_meek")
    False
    """
    digest = hashlib.sha256()
    for name in sorted(reached(modules)):
        digest.update(f"{name}\n{_code(name)[0]}\n".encode())
    return digest.hexdigest()[:16]


def reached(modules: Iterable[str]) -> set[str]:
    """The modules themselves, and those that they import, however far."""
    found: set[str] = set()
    todo = [name for name in modules if name.split(".")[0] == "filch"]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [other for other in _code(name)[1] if not _apart(other)]
    return found


def modules_of(*things: object) -> tuple[str, ...]:
    """The modules of filch in which these objects, and those that they hold as dataclasses do, are written.

    Examples
    --------
    >>> from filch.attacks.logistic import Logistic
    >>> modules_of(Logistic())
    ('filch.attacks.logistic',)
    """
    found: dict[str, None] = {}
    todo = list(things)
    while todo:
        thing = todo.pop()
        found[thing.__module__ if callable(thing) else type(thing).__module__] = None
        if dataclasses.is_dataclass(thing):
            todo += [getattr(thing, field.name) for field in dataclasses.fields(thing)]
    return tuple(sorted(name for name in found if name and name.split(".")[0] == "filch"))


@functools.cache
def _code(name: str) -> tuple[str, tuple[str, ...]]:
    """A module's code without docstrings and comments, and the modules of filch that it names in imports."""
    tree = ast.parse(_file(name).read_text(encoding="utf-8"))
    imported = tuple(_imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A text that stands alone says something and does nothing; `pass` keeps a body that held nothing else.
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.unparse(tree), imported


def _apart(name: str) -> bool:
    return name in _APART or name.startswith(tuple(f"{package}." for package in _APART[1:]))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "filch":
                yield name if _exists(name) else name.rpartition(".")[0]


def _exists(name: str) -> bool:
    return _place(name).with_suffix(".py").is_file() or (_place(name) / "__init__.py").is_file()


def _file(name: str) -> Path:
    place = _place(name)
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _place(name: str) -> Path:
    return _ROOT.joinpath(*name.split(".")[1:])
