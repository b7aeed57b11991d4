"""The tutorial's commands print what the tutorial shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import filch.report

DOCS = Path(__file__).parents[1] / "docs"
TUTORIAL, REPORT = DOCS / "tutorial.md", DOCS / "how-to" / "read-the-report.md"
WIDE = {"COLUMNS": "100"}  # lest tables be cut
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def command(start: str) -> list[str]:
    """A command of the tutorial, in words."""
    lines = "".join(code for kind, code in BLOCKS if kind == "sh").splitlines()
    (line,) = [line for line in lines if line.startswith(start)]
    return shlex.split(line, comments=True)[1:]


def shown(start: str) -> str:
    """What the tutorial shows as printed."""
    (text,) = [text for kind, text in BLOCKS if kind == "text" and text.startswith(start)]
    return text


def filch_prints(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "filch", *words],
        cwd=folder,
        env=os.environ | WIDE,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_printed(text: str, printed: str, page: Path = TUTORIAL) -> None:
    """White space aside: lines are broken where the terminal ends."""
    if " ".join(text.split()) not in " ".join(printed.split()):
        pytest.fail(
            f"docs/{page.relative_to(DOCS)} shows other figures than its command prints:\n\n{text}\nThe command prints "
            f"the following; put it there, and make docs/assets/report.png anew.\n\n{printed}",
            pytrace=False,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the model and the table that the tutorial makes."""
    path = tmp_path_factory.mktemp("tutorial")
    (code,) = [code for kind, code in BLOCKS if kind == "python"]
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=path, check=True, timeout=240)
    return path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The address of the model, served as the tutorial does, on a free port."""
    words = command("filch serve")
    words[words.index("--port") + 1] = "0"
    with subprocess.Popen(
        [sys.executable, "-m", "filch", *words], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+/infer", server.stdout.readline())
            assert found is not None
            yield found.group()
        finally:
            server.terminate()


def test_the_audit(folder: Path) -> None:
    """The verdict and the table; the verdict in "Read the report"; what is said of labels, and of the gate."""
    audit = "filch audit credit.joblib --trust --data credit.csv --target credit_risk"
    printed = filch_prints(command(f"{audit} --max-queries"), folder)
    check_printed(shown("Your model can be copied"), printed)
    quoted = re.search(r"^> .*?\n\n", REPORT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert quoted is not None
    check_printed(re.sub(r"^> ?", "", quoted.group(), flags=re.MULTILINE), printed, REPORT)
    report = filch.report.load(folder / "report")
    full, labels = (next(r for r in report.reveals if r.name == name) for name in ("probabilities", "labels"))
    said = f"a 99 % copy took {labels.to(0.99).queries} queries in place of {full.to(0.99).queries}"
    assert said in " ".join(TUTORIAL.read_text(encoding="utf-8").split()), f"docs/tutorial.md should say: {said}"
    assert report.fail_under(int(command(f"{audit} --fail-under")[-1]))


def test_the_extraction(folder: Path, url: str) -> None:
    words = command("filch extract")
    words[1] = url
    check_printed(shown("outcome "), filch_prints(words, folder))
