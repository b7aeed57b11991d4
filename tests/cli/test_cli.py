"""The command line: what it prints, its exit codes, one line for each mistake."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from filch import models
from filch.cli import main
from filch.core.features import FeatureSpace
from filch.models.logistic import LogisticModel
from filch.services.server import serving


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a model, its table, and a table without the target column."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.normal(size=200).round(3), "c": rng.integers(0, 9, 200)})
    model = LogisticRegression().fit(frame, np.where(frame["n"] > 0, "in", "out"))
    joblib.dump(model, folder / "model.joblib")
    frame.assign(y=model.predict(frame)).to_csv(folder / "rows.csv", index=False)
    return folder


def run(capsys, *arguments):
    """Exit code, stdout, stderr."""
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def local(here, *more):
    return (here / "model.joblib", "--trust", "--data", here / "rows.csv", "--target", "y", *more)


def test_extract_a_file_and_save_the_copy(capsys, here, tmp_path):
    out = tmp_path / "copy.npz"
    code, text, _ = run(capsys, "extract", *local(here, "--budget", 100, "--out", out, "--json"))
    facts = json.loads(text)
    assert code == 0
    assert (facts["outcome"], facts["queries"], facts["selection"]) == ("verified", 3, 8)
    assert facts["fidelity"]["r_unif"] == 0.0
    frame = pd.read_csv(here / "rows.csv")
    assert (models.load(out).predict(frame) == frame["y"]).all()


def test_an_attack_takes_its_parameters_from_the_command_line(capsys, here):
    given = ["-p", "surrogate=linear-svm", "-p", "strategy=line_search", "-p", "explore=0.5", "--guard", "labels"]
    code, text, _ = run(
        capsys, "extract", *local(here, "--attack", "retraining", *given, "--budget", 80, "--evaluate", 500, "--json")
    )
    facts = json.loads(text)
    assert code == 0 and facts["evidence"]["surrogate"] == "LinearSVC"
    assert "strategy='line_search'" in facts["settings"]["attack"] and "explore=0.5" in facts["settings"]["attack"]


def test_a_pool_of_rows_from_a_file(capsys, here):
    given = ["--attack", "knockoff", "-p", f"pool={here / 'rows.csv'}", "--guard", "labels", "--budget", 80, "--json"]
    code, text, _ = run(capsys, "extract", *local(here, *given))
    assert code == 0 and json.loads(text)["evidence"]["pool"] == 200


def test_extract_prints_for_people(capsys, here):
    code, text, _ = run(capsys, "extract", *local(here, "--budget", 100))
    assert code == 0
    assert "verified" in text and "3 to attack, 8 to check" in text and "100.0000%" in text


def test_a_journal_is_gone_on_with_only_if_told(capsys, here, tmp_path):
    journal = tmp_path / "run.db"
    options = ("extract", *local(here, "--budget", 100, "--journal", journal, "--json"))
    first = json.loads(run(capsys, *options)[1])
    code, _, error = run(capsys, *options)
    assert code == 2 and "--resume" in error
    again = json.loads(run(capsys, *options, "--resume")[1])
    assert again["ledger"] == first["ledger"]
    nowhere = run(capsys, "extract", *local(here, "--journal", journal.with_name("other.db"), "--resume"))
    assert nowhere[0] == 2 and "holds no run to go on with" in nowhere[2]
    assert not journal.with_name("other.db").exists()
    code, _, error = run(capsys, *options, "--resume", "--seed", 5)
    assert code == 2 and "seed" in error
    assert run(capsys, "extract", *local(here, "--resume"))[0] == 2


def test_over_http(capsys, here):
    frame = pd.read_csv(here / "rows.csv").drop(columns="y")
    model = joblib.load(here / "model.joblib")
    with serving(model, FeatureSpace.from_frame(frame)) as url:
        code, text, _ = run(capsys, "extract", url, "--attack", "logistic", "--budget", 50, "--evaluate", 100, "--json")
    facts = json.loads(text)
    assert code == 0 and facts["outcome"] == "verified"
    assert facts["fidelity"]["r_unif"] == 0.0


def test_audit_plan_sends_nothing(capsys, here):
    code, text, _ = run(capsys, "audit", *local(here, "--plan", "--json"))
    parts = json.loads(text)
    assert code == 0 and parts[-1]["queries"] == sum(part["queries"] for part in parts[:-1])


def test_audit_writes_a_report_and_gates(capsys, here, tmp_path):
    options = local(here, "--out", tmp_path / "r", "--against", "labels", "--max-queries", 200, "--evaluate", 500)
    code, text, error = run(capsys, "audit", *options, "--fail-under", 1_000)
    assert code == 3
    assert "copied to 100 %" in text and "fewer than 1,000 queries" in error
    assert {"report.html", "report.json", "audit.db", "model.npz"} <= {p.name for p in (tmp_path / "r").iterdir()}
    assert run(capsys, "audit", *options, "--fail-under", 2)[0] == 0
    code, text, _ = run(capsys, "report", tmp_path / "r", "--json")
    assert code == 0 and json.loads(text)["reveals"]


def test_attacks_and_version(capsys):
    listed = set(json.loads(run(capsys, "attacks", "--json")[1]))
    assert {"auto", "kernel-logistic", "logistic", "lowd-meek", "perceptron-sgd", "retraining"} <= listed
    assert "logistic" in run(capsys, "attacks")[1]
    assert run(capsys, "--version")[1].startswith("filch 0.")


@pytest.mark.parametrize("command", ["demo", "audit", "extract", "serve", "reproduce", "attacks", "report"])
def test_help_has_examples(capsys, command):
    code, text, _ = run(capsys, command, "--help")
    assert code == 0 and "xample" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("extract", "absent.joblib", "--trust"), "no file absent.joblib"),
        (("extract", "{here}/model.joblib"), "--trust"),
        (("extract", "{here}/model.joblib", "--trust"), "--data"),
        (("extract", "{here}/model.joblib", "--trust", "--data", "{here}/rows.csv", "--target", "z"), "no column 'z'"),
        (
            ("extract", "{here}/model.joblib", "--trust", "--data", "{here}/rows.csv"),
            "was not trained on 'y' of the table",
        ),
        (("extract", "http://127.0.0.1:9/x", "--header-env", "bad"), "HEADER=VARIABLE"),
        (("extract", "http://example.com/v2/models/m/infer"), "--i-am-authorized"),
        (("extract", "{local}", "--budget", "0"), "budget of 0"),
        (("extract", "{local}", "--seed", "-1"), "seed"),
        (("extract", "{local}", "--max-batch", "0"), "max_batch"),
        (("extract", "{local}", "--out", "{here}/absent/copy.npz"), "cannot write"),
        (("extract", "{local}", "--out", "/proc/copy.npz"), "cannot write"),  # to no one, the administrator neither
        (("extract", "{local}", "--journal", "{here}/absent/run.db"), "cannot be written"),
        (("audit", "{local}", "--max-queries", "0"), "at least one query"),
        (("audit", "{local}", "--seeds", "0"), "seeds"),
        (("audit", "{local}", "--seed", "-1"), "seed"),
        (("audit", "{local}", "--evaluate", "-5", "--out", "{here}/never"), "n_uniform"),
        (("serve", "{local}", "--port", "70000"), "70000"),
        (("reproduce", "binary-lr", "--seeds", "0"), "--seeds"),
        (("reproduce", "binary-lr", "--out", "{here}/x.html"), "binary-lr takes no --out, but --seeds"),
        (("extract", "{local}", "--attack", "magic"), "no attack 'magic'"),
        (
            ("extract", "{local}", "--attack", "retraining", "-p", "surrogate=svm"),
            "no surrogate 'svm': choose logistic",
        ),
        (
            ("extract", "{local}", "--attack", "retraining", "-p", "rounds=few"),
            "does not take rounds='few': expected `int`",
        ),
        (("extract", "{local}", "--attack", "retraining", "-p", "depth=3"), "depth"),
        (("extract", "{local}", "--attack", "retraining", "-p", "rounds"), "name=value"),
        (("extract", "{local}", "--attack", "retraining", "-p", "rounds=1", "-p", "rounds=2"), "twice"),
        (("extract", "{local}", "--attack", "knockoff", "-p", "pool=absent.csv"), "no file absent.csv"),
        (("extract", "{local}", "--guard", "wall"), "wall"),
        (("audit", "{local}", "--against", "9 moons"), "write decimals such as 4"),
        (("report", "absent"), "absent"),
        (("reproduce", "table99"), "table99"),
        (("reproduce", "figure7", "--only", "iris", "--alphas", "nan"), "alphas are numbers above 0"),
        (("reproduce", "figure7", "--only", "iris", "--results", "{here}/rows.csv"), "choose another folder"),
        (("audit", "{local}", "--fail-under", "-5"), "--fail-under is a number of queries"),
        (("audit", "{local}", "--dialect", "soap"), "a model file takes no --dialect: leave it out"),
        (("extract", "{local}", "--classes", "a,b"), "a model file takes no --classes"),
        (("extract", "{local}", "--timeout", "3"), "a model file takes no --timeout"),
        (("extract", "{local}", "--rate", "3"), "a model file takes no --rate"),
        (("extract", "bigml://model/53c872fb37203f7085000ddd", "--max-batch", "3"), "bigml:// takes no --max-batch"),
        (("extract", "http://127.0.0.1:9/v2/models/m/infer", "--dialect", "mlflow"), "leave out dialect='mlflow'"),
        (("extract", "{here}/copy.npz"), "a copy that filch saved"),
        (("audit", "{local}", "--price", "-1"), "price must not be negative"),
        (("audit", "{local}", "--against", "top-9"), "hides nothing of 2 classes"),
        (("extract", "{local}", "--evaluate", "-1"), "--evaluate is 0"),
        (("extract", "{local}", "--out", "{here}"), "it is a folder"),
        (("extract", "{local}", "--attack", "logistic", "-p", "linc=3"), "no parameter 'linc': choose link, check"),
        (("extract", "{local}", "--journal", "{here}/rows.csv"), "not a journal: use another file"),
        (("serve", "{local}", "--dialect", "soap"), "choose kserve-v2, mlflow, bigml or amazon-ml"),
        (("serve", "absent.json", "--dialect", "bigml"), "cannot read absent.json"),
        (("serve", "{here}/rows.csv", "--dialect", "bigml"), "it is not JSON"),
        (("reproduce", "binary-lr", "--alphas", "1,2"), "binary-lr takes no --alphas, but --seeds"),
        (("reproduce", "table6", "--results", "{here}"), "table6 takes no --results, but --seeds"),
        (("reproduce", "figure4", "--decimals", "2"), "(--decimals: figure7, rounded-networks, rounded-trees)"),
        (("reproduce", "figure7", "--decimals", "2.5"), "numbers with commas"),
        (("reproduce", "figure4", "--alphas", "1;2"), "numbers with commas"),
        (("reproduce", "figure4", "--strategy", "magic"), "no strategy 'magic'"),
        (("reproduce", "figure4", "--jobs", "0", "--only", "moons"), "jobs must be at least 1"),
        (("serve", "{here}/model.joblib", "--trust"), "--data"),
    ],
)
def test_mistakes_are_told_in_a_line_and_exit_2(capsys, here, arguments, says):
    given = []
    for argument in arguments:
        given += [str(part) for part in local(here)] if argument == "{local}" else [argument.format(here=here)]
    code, out, error = run(capsys, *given)
    assert code == 2, error
    assert says in error and out == ""
    assert len(error.strip().splitlines()) == 1


def test_a_category_that_the_model_does_not_take(capsys, tmp_path):
    frame = pd.DataFrame({"n": np.linspace(-1, 1, 60), "c": ["a", "b", "c"] * 20})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough"), LogisticRegression()
    )
    joblib.dump(model.fit(frame, frame["n"] > 0), tmp_path / "model.joblib")
    frame.loc[3, "c"] = "elsewhere"
    frame.assign(y=frame["n"] > 0).to_csv(tmp_path / "rows.csv", index=False)
    for command in ("extract", "audit"):
        code, _, error = run(capsys, command, *local(tmp_path, "--out", tmp_path / "out"))
        assert code == 2
        assert "does not take these rows" in error and "elsewhere" in error
        assert len(error.strip().splitlines()) == 1


def test_a_reader_that_has_gone_is_no_error(here):
    command = [sys.executable, "-m", "filch", "extract", *map(str, local(here, "--budget", "50", "--json"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything is printed
        told = process.stderr.read()
        assert process.wait(timeout=60) == 0 and not told


def test_a_disk_that_fills_is_told_in_a_line(capsys, here, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "copy.npz")

    monkeypatch.setattr(LogisticModel, "save", full)
    code, _, error = run(capsys, "extract", *local(here, "--out", here / "copy.npz"))
    assert code == 2
    assert error.strip() == "error: copy.npz: No space left on device; make room, or choose another place"


def test_an_api_that_is_not_there_exits_2(capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v2/models/m/infer"
        code, _, error = run(capsys, "extract", address, "--timeout", 2)
    assert code == 2 and "127.0.0.1" in error


def heed_ctrl_c():
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_serve_says_where_and_ends_at_ctrl_c(here):
    command = [sys.executable, "-m", "filch", "serve", *map(str, local(here))]
    wide = {**os.environ, "COLUMNS": "300"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=wide, preexec_fn=heed_ctrl_c) as server:
        try:
            line = server.stdout.readline()
            assert "http://127.0.0.1:" in line
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
        finally:
            server.kill()


STUDIES = {
    "figure4": (["--only", "moons", "--strategy", "uniform"], 300),
    "figure7": (["--only", "iris", "--alphas", "1", "--decimals", "2"], 900),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_is_stopped_says_how_to_go_on(tmp_path, name):
    """Ctrl-C while the first of many cells is there: one line, exit code 130, and no cell is lost."""
    narrowed, count = STUDIES[name]
    command = [sys.executable, "-m", "filch", "reproduce", name, "--seeds", "300", *narrowed]
    options = ["--jobs", "1", "--results", str(tmp_path / "cells")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, *options], **pipes, text=True, preexec_fn=heed_ctrl_c) as study:
        try:
            while not list(tmp_path.glob("cells/*.json")) and study.poll() is None:
                time.sleep(0.02)
            study.send_signal(signal.SIGINT)
            out, error = study.communicate(timeout=60)
        finally:
            study.kill()
    assert study.returncode == 130 and out == ""
    kept = len(list(tmp_path.glob("cells/*.json")))
    assert f"{kept} of {count} cells are in {tmp_path / 'cells'}: run the same again to go on" in error
    assert not list(tmp_path.glob("cells/*.part"))


def test_a_port_in_use(capsys, here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, error = run(capsys, "serve", *local(here, "--port", taken.getsockname()[1]))
    assert code == 2 and "in use" in error


def test_as_a_module():
    told = subprocess.run([sys.executable, "-m", "filch", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("filch ")
