"""`filch serve --dialect bigml` and `filch extract bigml://…`, as their users run them."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from filch import models
from filch.cli import main
from filch.core.features import FeatureSpace
from filch.models.trees.bigml_write import to_bigml
from filch.testing import random_tree

SPACE = FeatureSpace.box([0, 0, 0], [1, 1, 1], names=["a", "b", "c"])


@pytest.fixture(scope="module")
def tree():
    return random_tree(SPACE, 10, np.random.default_rng(0))


@pytest.mark.parametrize("ending", [".json", ".npz"])
def test_a_tree_is_served_and_extracted(tree, tmp_path, monkeypatch, capsys, ending):
    pytest.importorskip("bigml.api", reason="needs BigML's client: pip install 'filch[bigml]'")
    file = tmp_path / f"tree{ending}"
    if ending == ".npz":
        tree.save(file)
    else:
        file.write_text(json.dumps(to_bigml(tree)))
    command = [sys.executable, "-m", "filch", "serve", str(file), "--dialect", "bigml"]
    command += ["--credits", "50", "--price", "0.1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIGML_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**environment, "COLUMNS": "300"}) as server:
        try:
            url = server.stdout.readline().split(" at ")[1].split()[0]
            for _ in range(2):
                name, _, value = server.stdout.readline().strip().partition("=")
                monkeypatch.setenv(name, value)
            assert server.stdout.readline().strip() == "0.1 credits a prediction, 50 credits in the account"
            copy = tmp_path / "copy.npz"
            with contextlib.suppress(SystemExit):
                main(["extract", url, "--attack", "tree-top-down", "--json", "--out", str(copy)])
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["outcome"], facts["queries"] < 400) == ("verified", True)
    assert models.load(copy).n_leaves == tree.n_leaves


def mistake(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_mistakes_are_told_in_a_line(capsys, tmp_path, monkeypatch):
    broken = tmp_path / "tree.json"
    broken.write_text(json.dumps({"object": {"model": {"root": {}}}})[:-9])
    assert "no BigML model" in mistake(capsys, "serve", broken, "--dialect", "bigml")
    broken.write_text(json.dumps({"object": {"model": {"root": {}}}}))
    assert "no BigML decision tree" in mistake(capsys, "serve", broken, "--dialect", "bigml")
    assert "--dialect bigml" in mistake(capsys, "serve", "model.joblib", "--white-box")
    assert "names no model" in mistake(capsys, "extract", "bigml://model/1")
    monkeypatch.delenv("BIGML_DOMAIN", raising=False)
    assert "--i-am-authorized" in mistake(capsys, "extract", "bigml://model/" + "0" * 24)
    assert "takes no --classes" in mistake(capsys, "extract", "bigml://model/" + "0" * 24, "--classes", "a,b")
