from __future__ import annotations

import multiprocessing
import os
import sqlite3
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, floating_dtypes, integer_dtypes

from filch import Answers, Journal
from filch.core.drive import drive
from filch.core.journal import RecordedAsk, RunLog, _pieces, pack, unpack
from filch.errors import JournalError, RunChanged

from .toys import Rounds, Toy

HEADER = {"attack": "none", "seed": "0"}
_ARRAYS = arrays(
    st.one_of(floating_dtypes(sizes=(32, 64)), integer_dtypes(), boolean_dtypes()),
    array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=5),
)


# ── pack and unpack ─────────────────────────────────────────────────────────────────────────────────────────


@given(st.dictionaries(st.text(max_size=5), _ARRAYS, max_size=4))
def test_packed_arrays_come_back_bit_for_bit(named: dict[str, np.ndarray]) -> None:
    back = unpack(pack(named))
    assert back.keys() == named.keys()
    for name, array in named.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()
        assert back[name].flags.aligned


def test_strided_arrays_are_packed_by_value() -> None:
    array = np.arange(12.0).reshape(3, 4)[::-1, ::2]
    np.testing.assert_array_equal(unpack(pack({"a": array}))["a"], array)


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)), st.booleans())
def test_rows_are_packed_alike_in_pieces(rows: np.ndarray, turned: bool) -> None:
    rows = rows.T if turned else rows
    np.testing.assert_array_equal(unpack(b"".join(_pieces(rows)))["rows"], unpack(pack({"rows": rows}))["rows"])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_damaged_record(data: bytes) -> None:
    try:
        found = unpack(data)
    except JournalError as error:
        assert "damaged record" in str(error)
    else:
        assert not found or pack(found)


@given(
    st.one_of(st.sampled_from(["<f8", "|O", "<V8", "<f3", "|b99", "<M8[s]", "{", "<i8,<f8"]), st.text(max_size=4)),
    st.lists(st.integers(-(2**70), 2**70) | st.integers(-3, 9), max_size=3),
    st.binary(max_size=32),
)
def test_odd_types_and_shapes_are_a_damaged_record(dtype: str, shape: list[int], data: bytes) -> None:
    try:
        record = msgspec.msgpack.encode({"rows": [dtype, shape, data]})
    except OverflowError:  # beyond what the format can say
        return
    try:
        found = unpack(record)["rows"]
    except JournalError as error:
        assert "damaged record" in str(error)
    else:
        assert found.shape == tuple(shape)
        assert found.dtype.kind in "biuf"


# ── files that are none ─────────────────────────────────────────────────────────────────────────────────────


def _hold(path: Path, pipe: Connection) -> None:
    with Journal(path):
        pipe.send("open")
        pipe.recv()


def test_a_file_in_use_by_another_process(tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("forkserver").Process(target=_hold, args=(tmp_path / "run.db", there))
    process.start()
    assert here.recv() == "open"
    with pytest.raises(JournalError, match="in use by another process: wait for it"):
        Journal(tmp_path / "run.db")
    here.send("close")
    process.join(30)
    with Journal(tmp_path / "run.db") as journal:
        assert journal.runs() == {}


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"cannot be written: check that .*nowhere exists"):
        Journal(tmp_path / "nowhere" / "run.db")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    if os.geteuid() == 0:  # to whom no folder is sealed, but the kernel's own
        folder = Path("/proc/self")
        if not folder.is_dir():
            pytest.skip("the administrator may write anywhere on this system: run the tests as another user")
    else:
        folder.chmod(0o500)
    with pytest.raises(JournalError, match="cannot be written"):
        Journal(folder / "run.db")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "run.db") as journal:
        journal._db.execute("PRAGMA query_only=1")  # what SQLite says of a read-only file, whoever asks
        with pytest.raises(JournalError, match="cannot be written"):
            journal.open_run("run", HEADER)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="not a journal: use another file"):
        Journal(path)
    assert path.read_bytes() == before


def test_another_program_s_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="another program's database"):
        Journal(path)
    assert path.read_bytes() == before


def test_another_version_s_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with Journal(path) as journal:
        journal._db.execute("PRAGMA user_version=99")
    with pytest.raises(JournalError, match="another version of filch: use a new file"):
        Journal(path)
    with sqlite3.connect(path) as free:  # the refusal left no lock behind
        free.execute("PRAGMA user_version=1")
    free.close()
    Journal(path).close()


@pytest.mark.parametrize("data", [b"", b"\xc1", pack({}), pack({"rows": np.zeros((1, 2)), "extra": np.zeros(1)})])
def test_a_damaged_record(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "run.db"
    with Journal(path) as journal:
        drive(Toy(), Rounds((2,)), budget=5, journal=journal)
        kind = "answers" if b"extra" in data else "rows"
        journal._db.execute("UPDATE payloads SET data = ? WHERE kind = ?", (data, kind))
    toy = Toy()
    with Journal(path) as journal, pytest.raises(JournalError, match=r"damaged record .* start with a new file"):
        drive(toy, Rounds((2,)), budget=5, journal=journal)
    assert not toy.received


def test_a_full_disk_stops_before_anything_is_sent_and_keeps_what_was_paid(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    toy = Toy(max_batch=2_000)
    attack = Rounds((2_000,) * 10)
    with Journal(path) as journal:
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count={pages + 6}")
        with pytest.raises(JournalError, match="disk is full or failing; what was paid so far is kept"):
            drive(toy, attack, budget=30_000, journal=journal)
    assert 0 < len(toy.received) < 10
    sent = toy.rows
    with Journal(path) as journal:
        run = drive(toy, attack, budget=30_000, journal=journal)
    whole = drive(Toy(max_batch=2_000), attack, budget=30_000)
    assert run.model.value.tobytes() == whole.model.value.tobytes()  # type: ignore[union-attr]
    again = sum(entry.rows for entry in run.uncertain)
    assert again <= 2_000
    assert toy.rows == whole.ledger.paid + again
    assert sent < toy.rows


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    rows = np.array([[1.0, np.nan], [-0.0, 2.0]])
    answers = Answers(rows, labels=np.array([1, 0]), refused=np.array([False, True]))
    with Journal(tmp_path / "run.db", durable=True) as journal:
        log = journal.open_run("run", HEADER)
        assert log.recorded(0) is None
        log.begin(0, "selection", "check", 4)
        log.sending(0, 0, rows)
        log.answered(0, 0, answers, sent=False)
        log.sending(0, 1, rows)
        log.again(0, 1)
        log.again(0, 1, lost=True)
        log.finish("verified")
    with Journal(tmp_path / "run.db") as journal:
        assert journal.runs() == {"run": "verified"}
        found = journal.open_run("run", HEADER).recorded(0)
    assert found is not None
    assert (found.account, found.phase, found.rows, found.answered) == ("selection", "check", 4, None)
    first, second = found.batches
    assert (first.attempts, first.lost, first.sent, second.attempts, second.lost) == (1, 0, False, 3, 1)
    assert second.answers is None
    assert first.answers is not None
    assert first.rows.tobytes() == rows.tobytes()
    for name, array in answers.arrays().items():
        assert first.answers.arrays()[name].tobytes() == array.tobytes()


def test_an_ask_is_written_with_its_first_batch_and_its_end_with_what_comes_next(tmp_path: Path) -> None:
    path, copy = tmp_path / "run.db", tmp_path / "copy.db"

    def killed_now() -> RecordedAsk | None:
        for suffix in ("", "-wal"):  # the files as a kill would leave them
            copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
        with Journal(copy) as left:
            return left.open_run("run", HEADER).recorded(0)

    rows = np.zeros((3, 2))
    with Journal(path) as journal:
        log = journal.open_run("run", HEADER)
        log.begin(0, "attack", "", 3)
        assert killed_now() is None  # nothing was paid
        log.sending(0, 0, rows)
        held = killed_now()
        assert held is not None
        assert [(b.attempts, b.answers) for b in held.batches] == [(1, None)]
        log.answered(0, 0, Answers(rows, value=np.ones(3)), sent=True)
        log.end(0, 3)
        held = killed_now()
        assert held is not None
        assert held.batches[0].answers is not None  # so that nothing is sent again
        assert held.answered is None
        log.begin(1, "attack", "", 3)
        log.sending(1, 0, rows)
        held = killed_now()
        assert held is not None
        assert held.answered == 3
        log.end(1, 3)
    with Journal(path) as journal:
        last = journal.open_run("run", HEADER).recorded(1)
        assert last is not None
        assert last.answered == 3  # closing writes what is held


def test_a_changed_header_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path / "run.db") as journal:
        journal.open_run("run", HEADER)
        with pytest.raises(RunChanged, match=r"seed: 0 → 1; guard: nothing → x{57}…\): use a new journal"):
            journal.open_run("run", {**HEADER, "seed": "1", "guard": "x" * 100})


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.db")
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        RunLog(journal, 1).begin(0, "attack", "", 1)
