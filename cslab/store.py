"""Files: atomic writes, readers whose errors name file and line, hashes, and stages that run once.

Reads and writes UTF-8; names that end in `.gz` are (de)compressed on the way. A *stage* is a folder
`outputs/<profile>/<stage>/<name>/` with its data, `config.json`, `summary.json` and `manifest.json`; it is
re-made only when its configuration, an input or the code it depends on has changed.

    >>> fingerprint({"b": 1, "a": [1, 2]}) == fingerprint({"a": [1, 2], "b": 1})
    True
"""

import contextlib
import csv
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from cslab.code_keys import code_key
from cslab.processes import alone

SHOWN, MOST = 200, 1000  # characters of a wrong line, and of valid names, that an error shows
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that may be half of a pair


class CslabError(Exception):
    """A mistake in data, settings or use: one line that says what, where and what to do (exit status 2)."""


def nearest(name: str, valid: Sequence[str]) -> str:
    """Ends an error about an unknown name: the closest valid one, or all of them.

    >>> nearest("epoch", ["epochs", "seed"])
    "did you mean 'epochs'?"
    """
    close = get_close_matches(name, list(valid), n=1, cutoff=0.6)
    names = ", ".join(map(str, valid))
    known = names if len(names) < MOST else f"{names[:MOST]}…"
    return f"did you mean '{close[0]}'?" if close else f"valid names: {known}"


# --- writing -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it takes the place of `path` only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending is kept, because writers of other libraries choose the format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[io.TextIOBase]:
    """Opens `path` for writing text (gzip by its ending, reproducible bytes); appears only when complete."""
    with atomic_path(path) as temporary:
        if str(path).endswith(".gz"):
            # No name and no time in the header: the same content gives the same bytes.
            with (
                open(temporary, "wb") as raw,
                gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed,
                io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as handle,
            ):
                yield handle
        else:
            with open(temporary, "w", encoding="utf-8", newline="\n") as handle:
                yield handle


def write_json(path: str | Path, value: Any) -> None:
    """Writes a value as indented JSON, keys in order of insertion, atomically."""
    with atomic_open(path) as handle:
        json.dump(value, handle, ensure_ascii=False, indent=2, default=_jsonable)
        handle.write("\n")


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# --- reading -------------------------------------------------------------------------------------------------


def open_bytes(path: str | Path) -> IO[bytes]:
    """Opens a file for reading (unpacked, if its name ends in `.gz`).

    Raises:
        CslabError: if the file is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise CslabError(f"{path}: no such file; check the path, or make it with the stage before")
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line without its end) of a text file; a byte order mark before it is left out.

    Raises:
        CslabError: for a missing or truncated file or bytes that are not UTF-8, with the line reached.
    """
    number = 0
    try:
        with open_bytes(path) as handle:
            # Decoded line by line, so that a wrong byte is blamed on its own line.
            for number, line in enumerate(handle, start=1):
                if number == 1 and b"\0" in line:
                    raise CslabError(f"{path}:1: holds NUL bytes, as UTF-16 does; convert the file to UTF-8")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise CslabError(f"{path}:{number}: not UTF-8 ({error.reason}); convert the file to UTF-8") from None
    except (EOFError, OSError, zlib.error) as error:
        raise CslabError(f"{path}:{number + 1}: cannot be read ({error}); fetch the file again") from None


def read_tsv(
    path: str | Path, columns: Sequence[str] | None = None, width: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, cells) of a tab-separated file without quoting.

    Args:
        path: the file.
        columns: if given, the header line that must stand first (it is not yielded).
        width: if given, the number of cells each line must have (default: that of `columns`).

    Raises:
        CslabError: for a wrong or missing header or a line with another number of cells.
    """
    width, number = width or (len(columns) if columns else None), 0
    for number, line in read_lines(path):
        cells = line.split("\t")
        if number == 1 and columns:
            if cells != list(columns):
                found = cells if len(line) < SHOWN else f"{line[:SHOWN]!r}…"
                raise CslabError(f"{path}:1: header is {found}, expected {list(columns)}; put the right header first")
            continue
        if not line:
            continue
        if width and len(cells) != width:
            raise CslabError(f"{path}:{number}: {len(cells)} tab-separated cells, expected {width}; repair the line")
        yield number, cells
    if columns and not number:
        raise CslabError(f"{path}: the file is empty, expected the header {list(columns)}; make or fetch it again")


def read_jsonl(path: str | Path, required: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, object) of a JSON-lines file; each object must hold the `required` keys.

    Raises:
        CslabError: for a line that is not a JSON object or lacks a key.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        row = _parsed(line, path, number, "repair the line")
        if not isinstance(row, dict):
            raise CslabError(f"{path}:{number}: a JSON {type(row).__name__}, expected an object; repair the line")
        if missing := [key for key in required if key not in row]:
            raise CslabError(f"{path}:{number}: the object has no {', '.join(missing)}; add what is missing")
        yield number, row


def read_json(path: str | Path, remedy: str = "repair or remake it") -> Any:
    """Reads a JSON file; a broken or truncated one gives a `CslabError` with its line."""
    return _parsed("\n".join(line for _, line in read_lines(path)), path, 1, remedy)


def read_record(path: str | Path, remedy: str, required: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a JSON file that holds an object with some keys, such as what a stage writes down.

    Raises:
        CslabError: for a file that is not JSON, holds something else or lacks a key; it ends with the remedy.
    """
    record = read_json(path, remedy)
    if not isinstance(record, dict):
        raise CslabError(f"{path}: a JSON {type(record).__name__}, expected an object; {remedy}")
    if missing := [key for key in required if key not in record]:
        raise CslabError(f"{path}: the object has no {', '.join(missing)}; {remedy}")
    return record


def _parsed(text: str, path: str | Path, first: int, remedy: str) -> Any:
    """The value of a JSON text that begins in the line `first` of a file."""
    try:
        value = json.loads(text)
        if _HALF.search(text):
            # Half of an escaped pair can be read, but neither written nor tokenised.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where, reason = first + error.lineno - 1, f"{error.msg} at column {error.colno}"
        raise CslabError(f"{path}:{where}: not JSON ({reason}); {remedy}") from None
    except UnicodeEncodeError:
        raise CslabError(f"{path}:{first}: half of a surrogate pair (\\ud8xx) stands alone; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise CslabError(f"{path}:{first}: not JSON ({str(error).splitlines()[0]}); {remedy}") from None
    return value


def write_tsv(path: str | Path, rows: Iterator[Sequence[Any]], header: Sequence[str] | None = None) -> None:
    """Writes rows as tab-separated text without quoting; a tab or line end inside a cell is refused.

    Raises:
        CslabError: for a cell with a tab or a line end; nothing is written then.
    """
    with atomic_open(path) as handle:
        writer = csv.writer(handle, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        try:
            if header:
                writer.writerow(header)
            writer.writerows(rows)
        except csv.Error as error:
            raise CslabError(f"{path}: a cell holds a tab or a line end ({error}); remove it from the text") from None


# --- hashes --------------------------------------------------------------------------------------------------


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file, as hex, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """A short stable hash of any JSON-like value (order of keys does not matter)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_jsonable)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- stages --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished stage: where its files are, its key, and the small numbers it reported."""

    path: Path
    key: str
    summary: dict[str, Any]
    seconds: float
    reused: bool


def stage_key(config: Any, inputs: Mapping[str, str], code: str) -> str:
    """The key a stage's manifest must carry to be still true."""
    return fingerprint({"config": config, "inputs": dict(inputs), "code": code})


def stage_state(path: str | Path, key: str) -> str:
    """`done`, `stale` (made from something else), `partial` (interrupted) or `to do`."""
    path = Path(path)
    if (path / "manifest.json").is_file():
        return "done" if _manifest(path)["key"] == key else "stale"
    return "partial" if partial_folder(path).exists() else "to do"


def run_stage(
    path: str | Path,
    config: Any,
    build: Callable[[Path], Mapping[str, Any] | None],
    inputs: Mapping[str, str] | None = None,
    roots: Sequence[str] = (),
) -> Stage:
    """Makes a stage folder once, or returns the one that still holds.

    The folder is built under another name and moved into place when complete, so a stage is never half-written. What
    an interrupted build left (checkpoints, shards) is offered to the next try when the key is the same.

    Args:
        path: the stage's folder.
        config: everything the result depends on, JSON-like; stored as `config.json`.
        build: called with the folder to fill; returns the small numbers for `summary.json`.
        inputs: name → key or hash of what the stage reads.
        roots: names of the code in `cslab` that the result depends on, as `cslab.code_keys` knows them.

    Returns:
        The finished stage; `reused` tells whether anything was done.
    """
    path, inputs = Path(path), dict(inputs or {})
    key = stage_key(config, inputs, code_key(*roots))
    found = _finished(path, key)
    if found is not None:
        return found
    with alone(path):
        # Another process may have made it while this one waited.
        return _finished(path, key) or _build(path, key, config, build, inputs, roots)


def _finished(path: Path, key: str) -> Stage | None:
    if stage_state(path, key) != "done":
        return None
    summary = read_record(path / "summary.json", _anew(path))
    return Stage(path, key, summary, _manifest(path)["seconds"], True)


def _manifest(path: Path) -> dict[str, Any]:
    return read_record(path / "manifest.json", _anew(path), ("key", "seconds"))


def _anew(path: Path) -> str:
    return f"delete the folder {path}, and the stage is made again"


def _build(
    path: Path,
    key: str,
    config: Any,
    build: Callable[[Path], Mapping[str, Any] | None],
    inputs: Mapping[str, str],
    roots: Sequence[str],
) -> Stage:
    partial = partial_folder(path)
    if partial.exists() and (not (partial / ".key").is_file() or (partial / ".key").read_text() != key):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    (partial / ".key").write_text(key)
    started = time.time()
    summary = dict(build(partial) or {})
    seconds = round(time.time() - started, 2)
    write_json(partial / "config.json", config)
    write_json(partial / "summary.json", summary)
    (partial / ".key").unlink()
    files = {f.relative_to(partial).as_posix(): f.stat().st_size for f in sorted(partial.rglob("*")) if f.is_file()}
    made = {"seconds": seconds, "files": files, "versions": _versions()}
    write_json(partial / "manifest.json", {"key": key, "inputs": inputs, "code": list(roots)} | made)
    if path.exists():
        shutil.rmtree(path)
    os.replace(partial, path)
    return Stage(path, key, read_json(path / "summary.json"), seconds, False)


def partial_folder(path: Path) -> Path:
    """Where a stage is while it is built."""
    return path.parent / f".{path.name}.partial"


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in ("torch", "transformers", "datasets", "accelerate", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
