"""Texts by id in an Arrow file: memory-mapped, so a million passages cost no memory until they are read.

Writes `<name>.arrow` (columns `id`, `text`, in batches) and `<name>.index.npy` beside it: the sorted 64-bit hashes of
the ids and their rows. A look-up is a binary search in the index; nothing is loaded when a file is opened.

    write_texts("documents/de.arrow", [("d1", "Der Fuchs.")])
    Texts("documents/de.arrow")["d1"]
"""

import os
import shutil
from array import array
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cslab.store import CslabError, atomic_path

BATCH = 8192  # rows in a record batch; every batch but the last is full, so a row's batch is row // BATCH
TEXTS = pa.schema([("id", pa.string()), ("text", pa.string())])


class Texts(Mapping[str, str]):
    """The texts of one language, id → text, read from disk on demand; order and ids are those of the source."""

    def __init__(self, path: str | Path):
        """Maps the file into memory.

        Raises:
            CslabError: if the file or its index is missing or damaged.
        """
        self.path = Path(path)
        self._file, self._source = _open(self.path), pa.OSFile(str(self.path))
        try:
            # As plain arrays over the mapped file: the memmap class makes each search slower.
            self._hashes, self._rows = np.asarray(np.load(index_path(self.path), mmap_mode="r"))
        except (OSError, EOFError, ValueError) as error:
            raise CslabError(f"{index_path(self.path)}: cannot be read ({error}); save the collection again") from None
        self._batches: dict[int, list[pa.StringArray]] = {}

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        # Worker processes map the file themselves instead of receiving the text.
        return type(self), (self.path,)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (key for ids, _ in self._pass() for key in ids.to_pylist())

    def _pass(self) -> Iterator[list[pa.StringArray]]:
        # Read, not mapped: after a pass over it the whole file would count as memory of the process.
        reader = pa.ipc.open_file(self._source)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number).columns

    def __getitem__(self, key: str) -> str:
        row = self.row(key)
        return self._batch(row // BATCH)[1][row % BATCH].as_py()

    def row(self, key: str) -> int:
        """The place of a text in the order of the source, from 0."""
        row = self._row(key)
        if row < 0:
            raise KeyError(key)
        return row

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._row(key) >= 0

    def items(self) -> "ItemsView[str, str]":
        """Pairs of id and text, read batch by batch."""
        return _Items(self)

    def values(self) -> "ValuesView[str]":
        """The texts, read batch by batch."""
        return _Values(self)

    def _row(self, key: str) -> int:
        wanted = np.uint64(id_hash(key))
        place = int(np.searchsorted(self._hashes, wanted))
        # Two ids may share a hash, if rarely: the id itself decides.
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._rows[place])
            if self._batch(row // BATCH)[0][row % BATCH].as_py() == key:
                return row
            place += 1
        return -1

    def _batch(self, number: int) -> list[pa.StringArray]:
        # The two columns are pointers into the mapped file: keeping them keeps no text.
        if number not in self._batches:
            self._batches[number] = self._file.get_batch(number).columns
        return self._batches[number]


class _Items(ItemsView):
    def __iter__(self) -> Iterator[tuple[str, str]]:
        for columns in self._mapping._pass():
            yield from zip(*(column.to_pylist() for column in columns), strict=True)


class _Values(ValuesView):
    def __iter__(self) -> Iterator[str]:
        return (text for _, texts in self._mapping._pass() for text in texts.to_pylist())


def index_path(path: str | Path) -> Path:
    """Where the index of an Arrow text file lies."""
    return Path(path).with_suffix(".index.npy")


def id_hash(key: str) -> int:
    """64-bit hash of an id, the same in every process."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def write_texts(path: str | Path, rows: Iterable[tuple[str, str]]) -> None:
    """Writes (id, text) rows as they come, keeping 8 bytes of each in memory.

    Raises:
        CslabError: for an id that stands twice or a text that is none; nothing is written then.
    """
    path = Path(path)
    hashes = array("Q")

    def hashed() -> Iterator[tuple[str, str]]:
        for key, text in rows:
            if not isinstance(key, str) or not isinstance(text, str):
                raise CslabError(f"{path}: id {key!r} has the text {text!r}; give both as text")
            hashes.append(id_hash(key))
            yield key, text

    with atomic_path(path) as temporary, atomic_path(index_path(path)) as index:
        _write(temporary, TEXTS, hashed())
        keys = np.array(hashes, dtype=np.uint64)
        order = np.argsort(keys, kind="stable").astype(np.uint64)
        keys = keys[order]
        _refuse_repeats(path, temporary, keys, order)
        np.save(index, np.stack([keys, order]))


def stored_texts(path: str | Path, rows: Callable[[], Iterable[tuple[str, str]]]) -> Texts:
    """The texts of an Arrow file, which is written from `rows()` if it is not there yet.

    For collections that do not fit into memory: they are read once, line by line, and mapped from then on.
    """
    if not Path(path).is_file():
        write_texts(path, rows())
    return Texts(path)


def link_texts(path: str | Path, texts: Texts) -> None:
    """Puts texts that lie on this disk already at another place without copying them; copies from another disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for source, target in ((texts.path, path), (index_path(texts.path), index_path(path))):
        with atomic_path(target) as temporary:
            Path(temporary).unlink(missing_ok=True)
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)


def _refuse_repeats(path: Path, written: Path, keys: np.ndarray, order: np.ndarray) -> None:
    seen: dict[str, int] = {}
    suspects = np.flatnonzero(keys[1:] == keys[:-1])
    source = _open(written) if len(suspects) else None
    for row in sorted({int(order[place + step]) for place in suspects for step in (0, 1)}):
        key = source.get_batch(row // BATCH).column(0)[row % BATCH].as_py()
        if key in seen:
            raise CslabError(f"{path}: id '{key}' stands in rows {seen[key] + 1} and {row + 1}; keep one of them")
        seen[key] = row


# --- small tables --------------------------------------------------------------------------------------------


def write_table(path: str | Path, schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> None:
    """Writes rows as an Arrow file, atomically."""
    with atomic_path(path) as temporary:
        _write(temporary, schema, rows)


def read_table(path: str | Path) -> Iterator[tuple]:
    """Yields the rows of an Arrow file."""
    source = _open(Path(path))
    for number in range(source.num_record_batches):
        yield from zip(*(column.to_pylist() for column in source.get_batch(number).columns), strict=True)


def _write(path: Path, schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        batch: list[Sequence[Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                writer.write_batch(_record_batch(batch, schema))
                batch = []
        if batch:
            writer.write_batch(_record_batch(batch, schema))


def _record_batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _open(path: Path) -> pa.ipc.RecordBatchFileReader:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise CslabError(f"{path}: cannot be read ({reason}); save the collection again") from None
