"""The file with the results of a sweep: SQLite, with one row for each job."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from rmapcheck.host.files import written_beside
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.sweep.jobs import Job
from rmapcheck.verdict import Exit

FORMAT = 1
_APPLICATION = 0x726D6170
"""The application id of the SQLite file: "rmap"."""
KEYS: dict[str, tuple[type, object]] = {
    "verdict": (str, None),
    "text": (str, None),
    "exit": (int, None),
    "invariants": (list, []),
    "states": (int, 0),
    "steps": (int, 0),
}
"""The values of a result that the commands use: the type of each, and its default."""
_TABLE = """
create table result (
  id text primary key,
  job text not null,
  result text not null,
  seconds real not null
) strict, without rowid
"""


class ResultsError(ModelError):
    """A file of results that cannot be used."""


class Results:
    """A file of results. Rows are on disk when `put` returns.

    `new`: create the file if there is none. Raise ResultsError if the file cannot be used.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        if not new and not path.exists():
            raise ResultsError(f"there is no file {path}; `rmapcheck sweep run` makes one")
        self.path = path
        before = path.exists()
        try:
            self.db = sqlite3.connect(path)
            self._open(new=new)
        except sqlite3.Error as error:
            if not before:
                path.unlink(missing_ok=True)
            raise ResultsError(
                f"{path} is not a file of sweep results, or is damaged ({error}); name another"
            ) from None

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Raise ResultsError for a row that cannot be read, or a file that cannot be written."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ResultsError(
                f"{self.path} cannot be used ({error}); name another with --into"
            ) from None
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise ResultsError(
                f"{self.path} is damaged ({error}); start again with another file"
            ) from None

    def _open(self, *, new: bool) -> None:
        (application,) = self.db.execute("pragma application_id").fetchone()
        (number,) = self.db.execute("pragma user_version").fetchone()
        (tables,) = self.db.execute("select count(*) from sqlite_schema").fetchone()
        if not tables and new:
            with self.db:
                self.db.execute(f"pragma application_id = {_APPLICATION}")
                self.db.execute(f"pragma user_version = {FORMAT}")
                self.db.execute(_TABLE)
        elif application != _APPLICATION:
            raise ResultsError(f"{self.path} is not a file of sweep results; name another")
        elif number != FORMAT:
            raise ResultsError(
                f"{self.path} has format {number}, but this rmapcheck reads only {FORMAT}; "
                "use the version that wrote it"
            )
        if self.db.execute("pragma quick_check").fetchone() != ("ok",):
            raise ResultsError(f"{self.path} is damaged; start again with another file")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def get(self, job: Job) -> dict[str, Any] | None:
        """Return the result of a job, or None."""
        with self._used():
            row = self.db.execute("select result from result where id = ?", (job.id,)).fetchone()
            return None if row is None else _result(row[0])

    def put(self, job: Job, result: dict[str, Any], seconds: float) -> None:
        """Store the result of a job. A stored HOLDS or VIOLATED is never replaced."""
        known = self.get(job)
        if known is not None and decided(known):
            return
        text = json.dumps(attrs.asdict(job), sort_keys=True)
        row = (job.id, text, json.dumps(result, sort_keys=True), seconds)
        with self._used(), self.db:
            self.db.execute("insert or replace into result values (?, ?, ?, ?)", row)

    def rows(self) -> Iterator[tuple[Job, dict[str, Any], float]]:
        """Yield all jobs with their results and seconds, always in the same order."""
        sql = "select job, result, seconds from result order by job, id"
        with self._used():
            found = self.db.execute(sql).fetchall()
            rows = [(_job(job), _result(text), float(s)) for job, text, s in found]
        yield from rows

    def merge(self, other: "Results") -> None:
        """Copy the results of the other file into this one.

        Raise ResultsError if the two files have different verdicts for a job.
        """
        for job, result, seconds in other.rows():
            known = self.get(job) or result
            if decided(known) and decided(result) and known != result:
                raise ResultsError(
                    f"{self.path} and {other.path} contradict each other on {job.scheme}, "
                    f"{job.engine}, seed {job.seed}: {known['text']}, {result['text']}"
                )
            self.put(job, result, seconds)


def _job(text: str) -> Job:
    """Return the job in a row. Raise ValueError or TypeError if the row has no valid job."""
    job = Job(**json.loads(text))
    try:
        Scope(**{**job.scope, "ops": tuple(job.scope["ops"])})
    except ModelError as error:
        raise ValueError(str(error)) from None
    return job


def _result(text: str) -> dict[str, Any]:
    """Return the result in a row. Raise ValueError if the row has no valid result."""
    result: Any = json.loads(text)
    for key, (kind, default) in KEYS.items():
        if not isinstance(result, dict) or not isinstance(result.get(key, default), kind):
            raise ValueError(f"{key} is missing or wrong")  # noqa: TRY004 - damaged text
    Exit(result["exit"])
    return dict(result)


def decided(result: dict[str, Any]) -> bool:
    """Return whether a result is HOLDS or VIOLATED, which a faster machine would not change."""
    return result["verdict"] in ("HOLDS", "VIOLATED")


def merged(files: list[Path], into: Path) -> int:
    """Merge files of results into `into`; return how many results it then has.

    Raise ResultsError, and leave `into` as it was, if a file cannot be read or written, or if two
    files contradict each other.
    """
    try:
        with written_beside(into, into.read_bytes() if into.exists() else b"") as new:
            with closing(Results(new, new=True)) as target:
                target.path = into  # the name to print
                for file in files:
                    with closing(Results(file)) as other:
                        target.merge(other)
                number = sum(1 for _ in target.rows())
            new.replace(into)
    except OSError as error:
        raise ResultsError(
            f"{into} cannot be written ({error.strerror}); name another with --into"
        ) from None
    return number
