"""Word vectors: reading `.vec`, `.vec.gz` and `.bin`, caching as memory-mapped arrays, choosing words.

Reads fastText text and binary files; writes a folder with `vectors.npy` (float32, one row a word, most frequent first),
`words.txt` and `record.json`, which loads in milliseconds whatever its size.

    vectors = read_vectors("wiki.multi.de.vec", "de", limit=200_000, cache="data/cache/vectors")
    vectors.rows(["haus", "maus"])
"""

import codecs
import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cslab.languages import language as known_language
from cslab.store import CslabError, atomic_open, atomic_path, fingerprint, nearest, read_record, write_json
from cslab.text import fold

# The published files by name: aligned by MUSE (1710.04087), fastText on Wikipedia, fastText on Common Crawl.
ADDRESSES = {
    "wiki.multi": "https://dl.fbaipublicfiles.com/arrival/vectors/wiki.multi.{code}.vec",
    "wiki": "https://dl.fbaipublicfiles.com/fasttext/vectors-wiki/wiki.{code}.vec",
    "wiki.align": "https://dl.fbaipublicfiles.com/fasttext/vectors-aligned/wiki.{code}.align.vec",
    "cc": "https://dl.fbaipublicfiles.com/fasttext/vectors-crawl/cc.{code}.300.vec.gz",
    "cc.bin": "https://dl.fbaipublicfiles.com/fasttext/vectors-crawl/cc.{code}.300.bin.gz",
}
_NAMED = 5  # bad lines that are named; the rest is counted


@dataclass(frozen=True)
class Vectors:
    """Words of one language and their vectors.

    Attributes:
        language: code of the language.
        words: the words, most frequent first.
        matrix: (len(words), dimensions) float32; may be memory-mapped and is never written to.
        name: where the vectors come from.
        notes: what the reader met: lines, bad lines, the first bad ones by number and reason.
        subwords: a fastText model file that can give vectors of further words, or None.
    """

    language: str
    words: tuple[str, ...]
    matrix: np.ndarray
    name: str = "vectors"
    notes: Mapping[str, Any] = field(default_factory=dict)
    subwords: Path | None = None

    def __post_init__(self) -> None:
        known_language(self.language)
        if self.matrix.ndim != 2 or len(self.words) != len(self.matrix):
            found = f"{len(self.words)} words and a matrix of shape {self.matrix.shape}"
            raise CslabError(f"vectors '{self.name}': {found}; expected one row a word")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def dimensions(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Folded word → row; of words that fold alike the first (most frequent) one."""
        found: dict[str, int] = {}
        for row, word in enumerate(self.words):
            found.setdefault(fold(word), row)
        return found

    def rows(self, words: Iterable[str]) -> list[int]:
        """Rows of those of the given words that have a vector, in the order given."""
        return [self.index[key] for word in words if (key := fold(word)) in self.index]

    def limit(self, count: int | None) -> "Vectors":
        """The first `count` words (all if None)."""
        return self if count is None else replace(self, words=self.words[:count], matrix=self.matrix[:count])

    def with_subwords(self, words: Iterable[str]) -> "Vectors":
        """Appends those of the given words that have no vector, built from their character n-grams.

        Raises:
            CslabError: if no fastText model is known for these vectors.
        """
        if self.subwords is None:
            raise CslabError(f"vectors '{self.name}': no sub-words are known; train them, or read a fastText .bin file")
        new = list(dict.fromkeys(key for word in words if (key := fold(word)) not in self.index))
        if not new:
            return self
        model = _fasttext_model(self.subwords)
        added = np.stack([model.get_word_vector(word) for word in new]).astype(np.float32)
        return replace(self, words=(*self.words, *new), matrix=np.concatenate([self.matrix, added]))


def join(first: Vectors, second: Vectors) -> Vectors:
    """Two sets of vectors of one language side by side, each centred and of unit length; the words are the first's.

    Sub-word vectors see how a word is written, whole-word vectors what stands around it; together they translate better
    than either. A word that the second set lacks has zeros there.

    Raises:
        CslabError: for sets of two languages.
    """
    if first.language != second.language:
        raise CslabError(
            f"vectors of {first.language} and {second.language} cannot be joined; give two of one language"
        )
    parts = []
    for vectors in (first, second):
        rows = np.array(vectors.matrix, np.float32)
        for _ in range(2):
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
            rows -= rows[:20_000].mean(0)
        parts.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
    matrix = np.zeros((len(first), first.dimensions + second.dimensions), np.float32)
    matrix[:, : first.dimensions] = parts[0]
    places = np.array([second.index.get(fold(word), -1) for word in first.words])
    matrix[places >= 0, first.dimensions :] = parts[1][places[places >= 0]]
    return Vectors(first.language, first.words, matrix, f"{first.name} + {second.name}")


def known_address(collection: str, code: str) -> str:
    """The address of published vectors, e.g. `known_address("wiki.multi", "de")`.

    Raises:
        CslabError: for a collection or a language that is not known.
    """
    if collection not in ADDRESSES:
        raise CslabError(f"vectors '{collection}' are not known; {nearest(collection, list(ADDRESSES))}")
    return ADDRESSES[collection].format(code=known_language(code).code)


def read_vectors(path: str | Path, language: str, limit: int | None = None, cache: str | Path | None = None) -> Vectors:
    """Reads fastText vectors, from the cache where they were read before.

    Args:
        path: `.vec`, `.vec.gz` (text) or `.bin` (fastText model), or a folder that `save_vectors` wrote.
        language: code of their language.
        limit: how many words to read; later lines are not looked at.
        cache: folder in which to keep a memory-mapped copy; none if None.

    Raises:
        CslabError: for a missing or broken file, or one most lines of which are bad.
    """
    path = Path(path)
    if path.is_dir():
        return load_vectors(path).limit(limit)
    if not path.is_file():
        raise CslabError(f"{path}: no such file; check the path, or fetch it from one of {', '.join(ADDRESSES)}")
    if cache is not None:
        stamp = path.stat()
        key = fingerprint([str(path.resolve()), stamp.st_size, stamp.st_mtime_ns, limit, language])
        folder = Path(cache) / f"{path.name.split('.vec')[0]}-{key}"
        if not (folder / "record.json").is_file():
            save_vectors(read_vectors(path, language, limit), folder)
        return load_vectors(folder)
    return read_bin(path, language, limit) if path.suffix == ".bin" else read_vec(path, language, limit)


def read_vec(path: str | Path, language: str, limit: int | None = None) -> Vectors:
    """Reads vectors in text form; lines are split from the right, since words may hold blanks.

    A line is bad, and left out, counted and named, if it has too few numbers, a cell that is no number, a value that is
    not finite, bytes that are not UTF-8, no word, or a word that stood before.

    Raises:
        CslabError: for an empty or truncated file, one that ends before the words its header announces, or one most
            lines of which are bad.
    """
    lines = _binary_lines(Path(path))
    announced, dimensions, rest = _header(Path(path), lines)
    matrix = np.empty((min(limit or announced or 1 << 20, announced or 1 << 20), dimensions), np.float32)
    words: dict[str, None] = {}
    bad: list[str] = []
    read = 0
    for number, line in rest:
        if limit is not None and read >= limit:
            break
        read += 1
        word, values, reason = _parse(line, dimensions)
        if not reason and word in words:
            reason = f"'{word}' stood before"
        if reason:
            bad.append(f"line {number}: {reason}")
            continue
        if len(words) == len(matrix):
            matrix = np.concatenate([matrix, np.empty_like(matrix)])
        matrix[len(words)] = values
        words[word] = None
    if not words or len(bad) > read / 2:
        first = f" ({bad[0]})" if bad else ""
        raise CslabError(
            f"{path}: {len(bad)} of {read} lines are bad{first}; expected 'word v1 … v{dimensions}' a line"
        )
    if read < min(announced, announced if limit is None else limit):
        raise CslabError(f"{path}: its header announces {announced} words, it ends after {read}; fetch the file again")
    notes = {"lines": read, "announced": announced, "bad": len(bad), "first bad": bad[:_NAMED]}
    return Vectors(language, tuple(words), matrix[: len(words)].copy(), Path(path).name, notes)


def _binary_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    # Bytes, not text: one badly encoded word must cost its line alone.
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as handle:
            for number, line in enumerate(handle, start=1):
                yield number, line.rstrip(b"\r\n")
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise CslabError(f"{path}:{number + 1}: cannot be read ({error}); fetch the file again") from None


def _header(path: Path, lines: Iterator[tuple[int, bytes]]) -> tuple[int, int, Iterator[tuple[int, bytes]]]:
    """Words announced (0: no header), dimensions, and the lines that hold vectors."""
    number, first = next(lines, (0, b""))
    first = first.removeprefix(codecs.BOM_UTF8)
    cells = first.split()
    if len(cells) == 2 and all(cell.isdigit() for cell in cells) and int(cells[1]) > 0:
        return int(cells[0]), int(cells[1]), lines
    if len(cells) < 3:
        found = first[:40].decode("utf-8", "replace")
        raise CslabError(f"{path}:1: '{found}' is no header ('words dimensions') and no vector; is it a .vec file?")

    def all_lines() -> Iterator[tuple[int, bytes]]:
        yield number, first
        yield from lines

    return 0, len(cells) - 1, all_lines()


def _parse(line: bytes, dimensions: int) -> tuple[str, np.ndarray | None, str]:
    """Word, values, and why the line is bad (empty if it is not)."""
    cells = line.rstrip().rsplit(b" ", dimensions)
    if len(cells) != dimensions + 1:
        return "", None, f"{len(cells) - 1} numbers, expected {dimensions}"
    try:
        word = cells[0].decode("utf-8").strip()
        values = np.array(cells[1:], dtype=np.float32)
    except UnicodeDecodeError:
        return "", None, "not UTF-8"
    except ValueError:
        return "", None, "a cell is not a number"
    if not word:
        return "", None, "no word"
    return word, values, "" if np.isfinite(values).all() else f"'{word}' has a value that is not finite"


def _fasttext_model(path: str | Path) -> Any:
    import fasttext

    # The library greets every load with a line on stderr about an API change of 2019.
    fasttext.FastText.eprint = lambda *args, **kwargs: None
    try:
        return fasttext.load_model(str(path))
    except (ValueError, MemoryError) as error:
        raise CslabError(f"{path}: not a fastText model ({error}); give a .bin file of fastText, or its .vec") from None


def read_bin(path: str | Path, language: str, limit: int | None = None) -> Vectors:
    """Reads a fastText model; each word's vector includes its sub-words, and further words can be asked for.

    Raises:
        CslabError: if the file is not a fastText model.
    """
    model = _fasttext_model(path)
    words = tuple(word for word in model.get_words() if word != "</s>")[:limit]  # its mark of a line's end is no word
    matrix = np.empty((len(words), model.get_dimension()), np.float32)
    for row, word in enumerate(words):
        matrix[row] = model.get_word_vector(word)
    if not np.isfinite(matrix).all():
        raise CslabError(f"{path}: the model holds values that are not finite; train it again")
    notes = {"lines": len(words), "announced": len(words), "bad": 0, "first bad": []}
    return Vectors(language, words, matrix, Path(path).name, notes, Path(path))


def save_vectors(vectors: Vectors, folder: str | Path) -> None:
    """Writes vectors as a folder; `record.json` comes last, so that a folder with it is whole."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    with atomic_path(folder / "vectors.npy") as temporary:
        np.save(temporary, np.ascontiguousarray(vectors.matrix, dtype=np.float32))
    with atomic_open(folder / "words.txt") as handle:
        handle.writelines(f"{word}\n" for word in vectors.words)
    record = {"language": vectors.language, "name": vectors.name, "words": len(vectors), "notes": dict(vectors.notes)}
    write_json(folder / "record.json", record | {"subwords": str(vectors.subwords) if vectors.subwords else None})


def load_vectors(folder: str | Path) -> Vectors:
    """Opens a folder of vectors; the matrix stays on disk until rows are used.

    Raises:
        CslabError: for a folder that is not whole.
    """
    folder = Path(folder)
    if not (folder / "record.json").is_file():
        raise CslabError(f"{folder}: no record.json, so the vectors are not whole; make them again")
    record = read_record(folder / "record.json", "make the vectors again", ("language", "name", "notes"))
    try:
        words = tuple((folder / "words.txt").read_text(encoding="utf-8").split("\n")[:-1])
    except (OSError, UnicodeDecodeError) as error:
        raise CslabError(f"{folder}/words.txt: cannot be read ({error}); make the vectors again") from None
    try:
        matrix = np.load(folder / "vectors.npy", mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise CslabError(f"{folder}/vectors.npy: cannot be read ({error}); make the vectors again") from None
    if matrix.ndim != 2 or len(matrix) != len(words):
        raise CslabError(f"{folder}: {len(words)} words, vectors of shape {matrix.shape}; make the vectors again")
    subwords = Path(record["subwords"]) if record.get("subwords") else None
    if subwords and not subwords.is_absolute():
        subwords = folder / subwords
    return Vectors(record["language"], words, matrix, record["name"], record["notes"], subwords)
