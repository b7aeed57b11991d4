"""The journal: an SQLite file in which every batch is written before it is sent and its answers after.

A run that was killed is replayed from it: what was answered is not sent again; what was in flight is named as
uncertain, sent again and counted again. One file holds one run or many, by name. It holds rows, answers and public
facts, never a header, token or credential.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from filch.core.answers import Answers
from filch.core.attack import Account
from filch.core.features import Rows
from filch.errors import JournalError, RunChanged, UsageError

_Statement = tuple[str, tuple[Any, ...]]

_FORMAT = 1
_APPLICATION = 0x66696C63  # "filc": says that an SQLite file is one of ours
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, name TEXT UNIQUE, header TEXT, outcome TEXT);
CREATE TABLE IF NOT EXISTS asks (run INTEGER, ask INTEGER, account TEXT, phase TEXT, rows INTEGER,
                                 answered INTEGER, PRIMARY KEY (run, ask)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (run INTEGER, ask INTEGER, batch INTEGER, attempts INTEGER, lost INTEGER,
                                    sent INTEGER, PRIMARY KEY (run, ask, batch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS payloads (run INTEGER, ask INTEGER, batch INTEGER, kind TEXT, data BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS payload ON payloads (run, ask, batch, kind);
PRAGMA application_id={_APPLICATION};
PRAGMA user_version={_FORMAT};
COMMIT;
"""


@dataclass(frozen=True, eq=False)
class Recorded:
    """One batch as the journal holds it; ``answers`` is None if it was in flight when the run broke off.

    ``lost`` counts the attempts whose answers earlier crashes have cost.
    """

    index: int
    rows: Rows
    attempts: int
    lost: int
    sent: bool
    answers: Answers | None


@dataclass(frozen=True, eq=False)
class RecordedAsk:
    """One ask as the journal holds it; ``answered`` is None if it was not finished."""

    account: Account
    phase: str
    rows: int
    answered: int | None
    batches: list[Recorded]


class Journal:
    """An open journal file. Use as a context manager.

    Parameters
    ----------
    path : path
    durable : bool, default False
        Whether each record must also survive a power cut (an fsync a record): worth it where answers are paid. A
        killed process loses nothing either way.

    Raises
    ------
    JournalError
        The file cannot be written, is no journal, or is in use by another process.
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._held: list[_Statement] = []  # written with the next record: what alone is worth no transaction
        with self._reported():
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=1.0)
            try:
                self._open(durable)
            except BaseException:
                self._db.close()
                raise

    def _open(self, durable: bool) -> None:
        # An exclusive lock keeps a second process off, and spares the shared-memory file. Large pages suit blobs; a
        # small cache and a short log stay in the processor's own caches. fsyncs are dearer than those.
        self._db.execute("PRAGMA page_size=32768")
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise JournalError(f"journal {self.path}: another program's database, not a journal: use another file")
        if tables and version != _FORMAT:
            raise JournalError(f"journal {self.path} was written by another version of filch: use a new file")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA cache_size=-2048")
        self._db.execute(f"PRAGMA wal_autocheckpoint={512 if durable else 64}")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything that was paid is in it already."""
        with contextlib.suppress(JournalError):
            self._write()
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def runs(self) -> dict[str, str | None]:
        """The names of the runs in this file, with the outcome of each (None if unfinished)."""
        with self._reported():
            return dict(self._db.execute("SELECT name, outcome FROM runs ORDER BY id").fetchall())

    def open_run(self, name: str, header: Mapping[str, str]) -> RunLog:
        """Open a run for writing, or for replay if the file holds it already.

        Raises
        ------
        RunChanged
            The file holds a run of this name with another header; nothing was sent.
        """
        with self._reported():
            found = self._db.execute("SELECT id, header FROM runs WHERE name = ?", (name,)).fetchone()
            if found is None:
                text = json.dumps(dict(header), sort_keys=True)
                made = self._db.execute("INSERT INTO runs (name, header) VALUES (?, ?)", (name, text))
        if found is None:
            return RunLog(self, int(made.lastrowid or 0))
        then = json.loads(found[1])
        changed = [key for key in {**then, **header} if then.get(key) != header.get(key)]
        if changed:
            told = "; ".join(f"{key}: {_short(then.get(key))} → {_short(header.get(key))}" for key in changed)
            raise RunChanged(
                f"{self.path} holds another run ({told}): use a new journal, or the settings of the first run"
            )
        return RunLog(self, found[0])

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise JournalError(f"journal {self.path}: {_mend(error, self.path)}") from error

    def _hold(self, statement: str, values: tuple[Any, ...]) -> None:
        """Have a statement written before the next one, in the same transaction."""
        with self._reported():
            self._db.total_changes  # noqa: B018  # raises if the file is closed
            self._held.append((statement, values))

    def _write(self, *statements: _Statement, payload: Sequence[memoryview | bytes] = ()) -> None:
        """Write what is held and these statements; ``payload`` fills the blob that the last of them has made."""
        with self._reported():
            self._db.execute("BEGIN")
            try:
                row = None
                for statement, values in (*self._held, *statements):
                    row = self._db.execute(statement, values).lastrowid
                if payload:
                    with self._db.blobopen("payloads", "data", row or 0) as blob:
                        for piece in payload:
                            blob.write(piece)
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            self._held.clear()

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        if self._held:
            self._write()
        with self._reported():
            return self._db.execute(statement, values).fetchall()


@dataclass(eq=False)
class RunLog:
    """One run's part of a journal.

    That an ask begins is written with its first batch, and that it has ended with whatever comes next: neither has
    been paid for, and a replay finds out both by itself.
    """

    journal: Journal
    run: int

    def __post_init__(self) -> None:
        ((last,),) = self.journal._read("SELECT max(ask) FROM asks WHERE run = ?", (self.run,))
        self._last = -1 if last is None else int(last)

    def recorded(self, ask: int) -> RecordedAsk | None:
        """What the journal holds of an ask, or None."""
        if ask > self._last:
            return None
        key = (self.run, ask)
        found = self.journal._read("SELECT account, phase, rows, answered FROM asks WHERE run = ? AND ask = ?", key)
        if not found:
            return None
        batches = self.journal._read(
            "SELECT b.batch, b.attempts, b.lost, b.sent, r.data, a.data FROM batches b "
            "JOIN payloads r ON (r.run, r.ask, r.batch, r.kind) = (b.run, b.ask, b.batch, 'rows') "
            "LEFT JOIN payloads a ON (a.run, a.ask, a.batch, a.kind) = (b.run, b.ask, b.batch, 'answers') "
            "WHERE b.run = ? AND b.ask = ? ORDER BY b.batch",
            key,
        )
        account, phase, rows, answered = found[0]
        return RecordedAsk(account, phase, rows, answered, [_recorded(*batch) for batch in batches])

    def begin(self, ask: int, account: Account, phase: str, rows: int) -> None:
        """Record that an attack asks."""
        self.journal._hold("INSERT INTO asks VALUES (?, ?, ?, ?, ?, NULL)", (self.run, ask, account, phase, rows))
        self._last = max(self._last, ask)

    def sending(self, ask: int, batch: int, rows: Rows) -> None:
        """Record a batch before its first transmission."""
        head, data = _pieces(rows)
        self.journal._write(
            ("INSERT INTO batches VALUES (?, ?, ?, 1, 0, 1)", (self.run, ask, batch)),
            (
                "INSERT INTO payloads VALUES (?, ?, ?, 'rows', zeroblob(?))",
                (self.run, ask, batch, len(head) + len(data)),
            ),
            payload=(head, data),
        )

    def again(self, ask: int, batch: int, *, lost: bool = False) -> None:
        """Record one more transmission of a batch before it is made; ``lost`` if a crash cost the last one's answer."""
        self.journal._write(
            (
                "UPDATE batches SET attempts = attempts + 1, lost = lost + ? WHERE run = ? AND ask = ? AND batch = ?",
                (int(lost), self.run, ask, batch),
            )
        )

    def answered(self, ask: int, batch: int, answers: Answers, *, sent: bool) -> None:
        """Record a batch's answers."""
        arrays = answers.arrays()
        del arrays["rows"]
        update = "UPDATE batches SET sent = ? WHERE run = ? AND ask = ? AND batch = ? AND sent <> ?"
        self.journal._write(
            (update, (int(sent), self.run, ask, batch, int(sent))),
            ("INSERT INTO payloads VALUES (?, ?, ?, 'answers', ?)", (self.run, ask, batch, pack(arrays))),
        )

    def end(self, ask: int, answered: int) -> None:
        """Record that an ask is answered, as far as the budget went."""
        self.journal._hold("UPDATE asks SET answered = ? WHERE run = ? AND ask = ?", (answered, self.run, ask))

    def finish(self, outcome: str) -> None:
        """Record how the run went."""
        self.journal._write(("UPDATE runs SET outcome = ? WHERE id = ?", (outcome, self.run)))


class _Packed(msgspec.Struct, array_like=True):
    dtype: Annotated[str, msgspec.Meta(pattern=r"^[<>|][biuf][0-9]+$")]
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data: memoryview


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Turn named numeric arrays into bytes; `unpack` is its inverse, bit for bit."""
    packed = {
        name: _Packed(array.dtype.str, array.shape, np.ascontiguousarray(array).reshape(-1).view("u1").data)
        for name, array in arrays.items()
    }
    return msgspec.msgpack.encode(packed)


def _pieces(rows: Rows) -> tuple[bytes, memoryview]:
    """What `pack` makes of ``{"rows": rows}``, in two pieces, so that large rows are not copied for it."""
    data = np.ascontiguousarray(rows).reshape(-1).view("u1").data
    encode = msgspec.msgpack.encode
    facts = encode(rows.dtype.str) + encode(rows.shape)
    return b"\x81" + encode("rows") + b"\x93" + facts + b"\xc6" + len(data).to_bytes(4, "big"), data


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Read what `pack` wrote.

    Raises
    ------
    JournalError
        The bytes are not a packed mapping of arrays.
    """
    try:
        packed = msgspec.msgpack.decode(data, type=dict[str, _Packed])
        # Copies, for NumPy's own alignment: sums over unaligned memory may round differently.
        return {name: np.frombuffer(p.data, np.dtype(p.dtype)).reshape(p.shape).copy() for name, p in packed.items()}
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise JournalError(f"a damaged record in the journal: {error}; start with a new file") from error


def _recorded(index: int, attempts: int, lost: int, sent: int, rows: bytes, answers: bytes | None) -> Recorded:
    try:
        matrix = unpack(rows)["rows"]
        full = None if answers is None else Answers(rows=matrix, **unpack(answers))
    except (KeyError, TypeError, UsageError) as error:
        raise JournalError(f"a damaged record in the journal: {error}; start with a new file") from error
    return Recorded(index, matrix, attempts, lost, bool(sent), full)


def _short(text: str | None) -> str:
    return "nothing" if text is None else text if len(text) <= 60 else f"{text[:57]}…"


def _mend(error: sqlite3.Error, path: Path) -> str:
    text = str(error)
    if "locked" in text:
        return "in use by another process: wait for it, or use another file"
    if "readonly" in text or "unable to open" in text:
        return f"cannot be written: check that {path.parent} exists and is writable"
    if "full" in text or "disk I/O" in text:
        return "the disk is full or failing; what was paid so far is kept: make room and resume"
    if "malformed" in text:
        return "damaged: start with a new file"
    if "not a database" in text:
        return "not a journal: use another file"
    return text
