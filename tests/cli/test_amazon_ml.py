"""`filch serve --dialect amazon-ml`, `filch extract` and `filch audit` on ``amazon-ml://``, from the command line."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest

from filch import models
from filch.cli import main
from filch.models.binned import BinnedLinear

pytest.importorskip("boto3", reason="needs Amazon's client: pip install 'filch[amazon]'")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A model file, its table and the model."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 400), "job": rng.choice(list("abc"), 400)})
    churn = np.where(frame["age"] / 30 + (frame["job"] == "b") > rng.normal(1.8, 0.4, 400), "1", "0")
    model = BinnedLinear(6).fit(frame, churn)
    joblib.dump(model, folder / "model.joblib")
    frame.assign(churn=churn).to_csv(folder / "customers.csv", index=False)
    return folder, model


@contextlib.contextmanager
def served(folder, monkeypatch):
    """Serve it from another process; its address."""
    command = [sys.executable, "-m", "filch", "serve", str(folder / "model.joblib"), "--trust"]
    command += ["--data", str(folder / "customers.csv"), "--target", "churn", "--dialect", "amazon-ml"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**environment, "COLUMNS": "300"}) as server:
        try:
            url = server.stdout.readline().split(" at ")[1].split()[0]
            for _ in range(2):
                name, _, value = server.stdout.readline().strip().partition("=")
                monkeypatch.setenv(name, value)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0


def run(*arguments):
    with contextlib.suppress(SystemExit):
        main([str(argument) for argument in arguments])


def test_a_model_is_served_extracted_and_audited(shop, tmp_path, monkeypatch, capsys):
    folder, model = shop
    with served(folder, monkeypatch) as url:
        known = ["--data", folder / "customers.csv", "--target", "churn"]
        run("extract", url, *known, "--attack", "binned-linear", "--json", "--out", tmp_path / "copy.npz")
        facts = json.loads(capsys.readouterr().out)
        assert facts["outcome"] == "verified"
        paid = sum(account["queries"] for account in facts["ledger"].values())
        assert facts["dollars"] == pytest.approx(paid * 1e-4 + facts["seconds"] / 3600 * 1e-3, abs=1e-6)
        run("extract", url, *known, "--attack", "binned-linear")
        assert "as the service charges" in capsys.readouterr().out
        assert np.array_equal(models.load(tmp_path / "copy.npz").edges_["age"], model.edges_["age"])
        run("audit", url, *known, "--max-queries", "150", "--evaluate", "20", "--out", tmp_path / "report")
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert "binned-linear" in json.dumps(written) and "verified" in json.dumps(written)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in json.dumps(written)


def test_mistakes_are_told_in_a_line(shop, capsys, monkeypatch):
    folder, _ = shop

    def mistake(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert stop.value.code == 2
        return capsys.readouterr().err

    file, data = folder / "model.joblib", ["--data", folder / "customers.csv", "--target", "churn"]
    serve = ["serve", file, "--trust", "--dialect", "amazon-ml"]
    assert "needs --data" in mistake(*serve)
    assert "16 digits" in mistake(*serve, *data, "--decimals", "3")
    assert "pass space=" in mistake("extract", "amazon-ml://127.0.0.1:9/ml-1")
    assert "--i-am-authorized" in mistake("extract", "amazon-ml://ml-1", *data)
    assert "takes no --reveal" in mistake("extract", "amazon-ml://127.0.0.1:9/ml-1", *data, "--reveal", "labels")
    assert "names no model" in mistake("extract", "amazon-ml://", *data)
