"""The reference names every module of the attacks and of the models."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

import filch.attacks
import filch.models

PAGES = Path(__file__).parents[1] / "docs" / "reference"


@pytest.mark.parametrize("package", [filch.attacks, filch.models], ids=["attacks", "models"])
def test_reference_is_complete(package) -> None:
    page = PAGES / f"{package.__name__.rpartition('.')[2]}.md"
    shown = re.findall(r"^::: (\S+)$", "\n".join(p.read_text(encoding="utf-8") for p in PAGES.glob("*.md")), re.M)
    modules = {info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.") if not info.ispkg}
    assert modules, "no modules were found"
    assert not (missing := sorted(modules - set(shown))), f"add to {page.name}: " + ", ".join(missing)
    ours = {name for name in shown if name.startswith(f"{package.__name__}.")}
    assert not (gone := sorted(ours - modules)), f"{page.name} names what is no module: " + ", ".join(gone)
    assert len(shown) == len(set(shown)), "a module stands there twice"
