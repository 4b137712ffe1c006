"""Token ids on disk: texts tokenised once, memory-mapped from then on.

A million passages are a quarter of a gigabyte of ids, of which a batch reads a few pages. A store is a folder, named
by the hashes of the tokenizer and of the texts, with `ids.int32` (flat), `starts.npy` and, written last, `tokens.json`.
It is made in blocks; an interrupted one goes on after its last whole block. Several processes may ask for the same
store at once: one makes it, the others wait.

    documents = stored_texts(tokenizer, collection.documents["de"], "outputs/x/tokens", progress=print)
    documents["d1"], documents.tokens[documents.row("d1")]            # text, ids
    rerank(encoder, queries, documents, candidates, "ML-CS")          # reads the ids
"""

import contextlib
import os
import time
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cslab.collections.collection import Collection
from cslab.collections.texts import Texts
from cslab.processes import alone
from cslab.ranking.pair_tokens import Progress, Tokens, token_blocks, tokenizer_key
from cslab.store import CslabError, partial_folder, read_json, write_json


def texts_key(texts: Iterable[str]) -> str:
    """A hash of texts in their order."""
    digest = blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def stored_tokens(
    tokenizer: Any, texts: Iterable[str], folder: str | Path, progress: Progress | None = None
) -> tuple[Tokens, str]:
    """The token ids of texts, from the store below `folder`, which is made if it is not there yet.

    Args:
        tokenizer: a fast tokenizer of transformers.
        texts: what can be iterated more than once (a list, `Texts.values()`).
        folder: where stores lie.
        progress: called with a line of text every few seconds while one is made.

    Returns:
        The ids, memory-mapped, row by row those of `texts`; and the store's key.
    """
    key = f"{tokenizer_key(tokenizer)}-{texts_key(texts)}"
    place = Path(folder) / key
    if not (place / "tokens.json").is_file():
        with alone(place):
            # Another process may have made it while this one waited.
            if not (place / "tokens.json").is_file():
                _make(tokenizer, texts, place, progress)
    return open_tokens(place), key


def open_tokens(place: str | Path) -> Tokens:
    """Maps a finished store.

    Raises:
        CslabError: if files are missing or have another size than `tokens.json` says.
    """
    place = Path(place)
    record = read_json(place / "tokens.json")
    try:
        starts = np.load(place / "starts.npy", mmap_mode="r")
        # A file of nothing cannot be mapped.
        ids = np.memmap(place / "ids.int32", np.int32, mode="r") if record["tokens"] else np.zeros(0, np.int32)
        found = {"texts": len(starts) - 1, "tokens": len(ids)}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise CslabError(f"{place}: token ids cannot be read ({error}); delete the folder to make them again") from None
    if found != record:
        raise CslabError(f"{place}: holds {found}, tokens.json says {record}; delete the folder to make it again")
    # Plain arrays over the mapped files: the memmap class makes each access slower.
    return Tokens(np.asarray(ids), np.asarray(starts))


def _make(tokenizer: Any, texts: Iterable[str], place: Path, progress: Progress | None) -> None:
    partial = partial_folder(place)
    partial.mkdir(parents=True, exist_ok=True)
    done = read_json(partial / "done.json") if (partial / "done.json").is_file() else {"texts": 0, "tokens": 0}
    before, started, told = done["texts"], time.monotonic(), time.monotonic()
    with (
        _appending(partial / "ids.int32", done["tokens"] * 4) as ids,
        _appending(partial / "lengths.int64", done["texts"] * 8) as lengths,
    ):
        for block, counts in token_blocks(tokenizer, islice(texts, before, None)):
            ids.write(block.data)
            lengths.write(counts.data)
            ids.flush()
            lengths.flush()
            done = {"texts": done["texts"] + len(counts), "tokens": done["tokens"] + len(block)}
            write_json(partial / "done.json", done)
            if progress and time.monotonic() - told > 5:
                told = time.monotonic()
                progress(f"{done['texts']:,} texts tokenised, {(done['texts'] - before) / (told - started):,.0f}/s")
    counts = np.fromfile(partial / "lengths.int64", np.int64)
    np.save(partial / "starts.npy", np.concatenate([[0], np.cumsum(counts)]))
    write_json(partial / "tokens.json", done)
    os.replace(partial, place)
    for name in ("lengths.int64", "done.json"):
        (place / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _appending(path: Path, size: int) -> Iterator[Any]:
    with open(path, "ab") as handle:
        # What was written after the last whole block is dropped.
        handle.truncate(size)
        yield handle


# --- texts with their ids ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredTexts(Mapping[str, str]):
    """Texts by id, as they were, and their token ids: re-ranking and training read the ids where they get these.

    Attributes:
        texts: id → text.
        tokens: row by row in the order of `texts`.
        key: of the store: the tokenizer's hash, a hyphen, the texts'.
    """

    texts: Mapping[str, str]
    tokens: Tokens
    key: str

    def __getitem__(self, key: str) -> str:
        return self.texts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __contains__(self, key: object) -> bool:
        return key in self.texts

    def items(self) -> ItemsView[str, str]:
        """Pairs of id and text."""
        return self.texts.items()

    def values(self) -> ValuesView[str]:
        """The texts."""
        return self.texts.values()

    @property
    def tokenizer(self) -> str:
        """The hash of the tokenizer."""
        return self.key.partition("-")[0]

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {name: row for row, name in enumerate(self.texts)}

    def row(self, key: str) -> int:
        """The row of a text in `tokens`."""
        return self.texts.row(key) if isinstance(self.texts, Texts) else self._numbers[key]


def stored_texts(
    tokenizer: Any, texts: Mapping[str, str], folder: str | Path, progress: Progress | None = None
) -> StoredTexts:
    """Texts with their token ids, tokenised if they have not been yet; arguments as for `stored_tokens`."""
    return StoredTexts(texts, *stored_tokens(tokenizer, texts.values(), folder, progress))


def stored_collection(
    tokenizer: Any, collection: Collection, folder: str | Path, progress: Progress | None = None
) -> Collection:
    """A collection whose queries and documents are `StoredTexts`."""
    sides = {
        side: {
            lang: stored_texts(tokenizer, texts, folder, progress) for lang, texts in getattr(collection, side).items()
        }
        for side in ("queries", "documents")
    }
    return replace(collection, **sides)
