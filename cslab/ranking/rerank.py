"""Re-ranking: one pass over all pairs of some runs, shared between processes, in shards that survive an interruption.

Reads queries, documents and first-stage runs; gives runs with the cross-encoder's scores over the same candidates.
Texts are tokenised once, pairs that stand in several runs are scored once, batches are cut from all pairs sorted by
length, and a shard is some batches in a row. Under `torchrun` or `accelerate launch` every process scores its share of
the shards, and the runs are those that one process makes.

    run = rerank(encoder, task.queries, task.documents, task.candidates, name="ML-CS-s1", work="outputs/x/.shards")
    runs = rerank_all(encoder, {"en-de": task, "en-it": other}, name="ML-CS-s1", tokens="outputs/x/tokens")
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from cslab.collections.trec import Run
from cslab.processes import processes, summed
from cslab.ranking.cross_encoder import BATCH_TOKENS, Encoder, checked_length, encoder_key, scored
from cslab.ranking.pair_tokens import JoinedTokens, PairTokens, Progress, backend, token_batches, tokenise
from cslab.ranking.precision import choose_precision
from cslab.ranking.token_store import StoredTexts, stored_tokens, texts_key, tokenizer_key
from cslab.store import CslabError, atomic_path, fingerprint
from cslab.switching.layout import Frame

SHARD = 4096  # pairs; about this much of each process is scored again after an interruption
SHARDS = 16  # at least, where there are batches enough, so that processes have something to share


class Asked(Protocol):
    """What is to be re-ranked: `evaluation.settings.Task`, or anything with these three.

    Attributes:
        queries: query id → text; candidates of other queries are left out.
        documents: document id → text. Of `StoredTexts` of the encoder's tokenizer the ids are read.
        candidates: the first stage's run.
    """

    @property
    def queries(self) -> Mapping[str, str]: ...
    @property
    def documents(self) -> Mapping[str, str]: ...
    @property
    def candidates(self) -> Run: ...


class _Task(NamedTuple):
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    candidates: Run


def rerank(
    encoder: Encoder,
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    candidates: Run,
    name: str,
    **options: Any,
) -> Run:
    """Scores every candidate of every query of one run; the options are those of `rerank_all`."""
    return rerank_all(encoder, {"": _Task(queries, documents, candidates)}, name, **options)[""]


def rerank_all(
    encoder: Encoder,
    tasks: Mapping[str, Asked],
    name: str,
    work: str | Path | None = None,
    tokens: str | Path | None = None,
    max_length: int | None = None,
    truncation: str = "longest_first",
    batch_tokens: int | None = None,
    precision: str = "fp32",
    shard: int = SHARD,
    progress: Progress | None = None,
) -> dict[str, Run]:
    """Scores every candidate of every query of several runs.

    Args:
        encoder: a cross-encoder.
        tasks: what to re-rank, by any name.
        name: the system's name in the results.
        work: folder for finished shards, on a disk that all processes see; another model, other pairs or settings
            never reuse them. It is removed at the end. Without it nothing is kept.
        tokens: folder for the token ids of the texts, for later runs with the same tokenizer and for texts that do
            not fit the memory. Without it they are held in memory.
        max_length: tokens of a pair (default: the encoder's).
        truncation: which text is cut: the longer one ("longest_first") or the document ("only_second").
        batch_tokens: tokens in a batch, padding included (default: `BATCH_TOKENS` of the device).
        precision: "auto", "fp32" or "bf16".
        shard: pairs in a shard, fewer where they would make less than `SHARDS`; batches are not cut.
        progress: called with a line of text every few seconds.

    Returns:
        Task → run, in every process.

    Raises:
        CslabError: if a candidate is in no document, or no query of a task has candidates.
    """
    batch_tokens = batch_tokens or BATCH_TOKENS[encoder.device.type]
    numbers = _Numbers(tokenizer_key(encoder.tokenizer))
    rows = [_candidate_rows(numbers, task) for task in tasks.values()]
    joined, texts = numbers.tokens(encoder.tokenizer, tokens, progress)
    pairs, places = _distinct([numbers.placed(found) for found in rows])
    frame = Frame.of(encoder.tokenizer, backend(encoder.tokenizer))
    laid = PairTokens(joined, joined, *pairs, frame, checked_length(encoder, max_length), truncation)
    folder = None
    if work is not None:
        kind, _ = choose_precision(precision, encoder.device)
        settings = [encoder_key(encoder), texts, laid.max_length, truncation, kind, shard, batch_tokens]
        folder = Path(work) / fingerprint([*settings, blake2b(pairs.tobytes(), digest_size=8).hexdigest()])
    scores = _all_scores(encoder, laid, folder, shard, batch_tokens, precision, progress)[places]
    if work is not None and processes()[0] == 0:
        shutil.rmtree(work, ignore_errors=True)
    ends = np.cumsum([found.shape[1] for found in rows])[:-1]
    return {
        key: _scored_run(name, task, part)
        for (key, task), part in zip(tasks.items(), np.split(scores, ends), strict=True)
    }


def _asked(task: Asked) -> list[str]:
    return [qid for qid in task.candidates.scores if qid in task.queries]


def _scored_run(name: str, task: Asked, scores: np.ndarray) -> Run:
    given, values = task.candidates, iter(scores.tolist())
    found = {qid: {did: next(values) for did in given.scores[qid]} for qid in _asked(task)}
    return Run(name, given.query_lang, given.doc_lang, given.first_stage, found)


# --- which texts ---------------------------------------------------------------------------------------------

_PLAIN = 1 << 40  # numbers from here on are of texts that have no ids yet


@dataclass(frozen=True)
class _Numbers:
    """Numbers of texts: rows of the stores they lie in, one store after another, then texts that lie in none."""

    tokenizer: str
    stores: list[StoredTexts] = field(default_factory=list)
    seen: dict[bytes, int] = field(default_factory=dict)
    places: list[tuple[Mapping[str, str], str]] = field(default_factory=list)

    def of(self, texts: Mapping[str, str]) -> Callable[[str], int]:
        """Id → number; a KeyError for an id without text."""
        if isinstance(texts, StoredTexts) and texts.tokenizer == self.tokenizer:
            keys = [store.key for store in self.stores]
            if texts.key not in keys:
                self.stores.append(texts)
            begin = sum(len(store) for store in self.stores[: [*keys, texts.key].index(texts.key)])
            return cache(lambda name: begin + texts.row(name))
        return cache(lambda name: self._plain(texts, name))

    def _plain(self, texts: Mapping[str, str], name: str) -> int:
        # Texts that read alike are one, whatever they are called.
        digest = blake2b(texts[name].encode("utf-8", "surrogatepass"), digest_size=16).digest()
        number = self.seen.setdefault(digest, len(self.seen))
        if number == len(self.places):
            self.places.append((texts, name))
        return _PLAIN + number

    def __iter__(self) -> Iterator[str]:
        """The texts that lie in no store; read where they lie, not held."""
        return (texts[name] for texts, name in self.places)

    def placed(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers as rows of the joined tokens."""
        return np.where(numbers < _PLAIN, numbers, numbers - _PLAIN + sum(map(len, self.stores)))

    def tokens(self, tokenizer: Any, folder: str | Path | None, progress: Progress | None) -> tuple[JoinedTokens, str]:
        """The ids of all texts, and a hash of them."""
        if folder is None:
            plain, key = tokenise(tokenizer, self), texts_key(self)
        else:
            plain, key = stored_tokens(tokenizer, self, folder, progress)
        parts = [store.tokens for store in self.stores]
        return JoinedTokens((*parts, plain)), fingerprint([*(store.key for store in self.stores), key])


def _candidate_rows(numbers: _Numbers, task: Asked) -> np.ndarray:
    """Numbers of the query and the document of every candidate: int64, 2 × candidates."""
    run, asked = task.candidates, _asked(task)
    query, document = numbers.of(task.queries), numbers.of(task.documents)
    rows: list[list[int]] = []
    for qid in asked:
        try:
            rows.append([document(did) for did in run.scores[qid]])
        except KeyError as error:
            lost = f"query {qid} has candidate '{error.args[0]}', which is in no document"
            raise CslabError(f"run {run.name}: {lost}; give the documents of the run") from None
    if not any(rows):
        raise CslabError(f"run {run.name}: no candidates for any of {len(task.queries)} queries; check its query ids")
    counts = list(map(len, rows))
    return np.stack(
        [np.repeat([query(qid) for qid in asked], counts), np.fromiter((r for f in rows for r in f), np.int64)]
    )


def _distinct(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct columns of 2 × n arrays, and where each column of all of them is among these."""
    queries, documents = np.concatenate(rows, axis=1)
    base = int(documents.max()) + 1
    pairs, places = np.unique(queries * base + documents, return_inverse=True)
    return np.stack(np.divmod(pairs, base)), places


# --- shards --------------------------------------------------------------------------------------------------


def _all_scores(
    encoder: Encoder,
    tokens: PairTokens,
    folder: Path | None,
    shard: int,
    batch_tokens: int,
    precision: str,
    progress: Progress | None,
) -> np.ndarray:
    """Scores pairs shard by shard; finished shards are taken from `folder`, the others shared between processes."""
    (rank, count), shards = (
        processes(),
        _shards(token_batches(tokens.lengths, batch_tokens), min(shard, -(-len(tokens) // SHARDS))),
    )
    scores = np.zeros(len(tokens), np.float32)
    for number in _left(scores, shards, folder)[rank::count]:
        rows = np.concatenate(shards[number])
        for part, values in scored(encoder, tokens, shards[number], precision, _within(progress, number, len(shards))):
            scores[part] = values
        if not np.isfinite(scores[rows]).all():
            raise CslabError(f"{encoder.name}: a score is not a finite number; the encoder's weights are damaged")
        if folder is not None:
            with atomic_path(_file(folder, number)) as temporary, open(temporary, "wb") as handle:
                np.save(handle, scores[rows])
    return summed(scores)


def _shards(batches: Sequence[np.ndarray], shard: int) -> list[list[np.ndarray]]:
    """Batches in a row, a new shard where `shard` pairs are full."""
    shards: list[list[np.ndarray]] = [[]]
    for batch in batches:
        if sum(map(len, shards[-1])) >= shard:
            shards.append([])
        shards[-1].append(batch)
    return shards


def _left(scores: np.ndarray, shards: Sequence[Sequence[np.ndarray]], folder: Path | None) -> list[int]:
    """Numbers of the shards that are not finished; the first process puts the finished ones into `scores`."""
    done = np.zeros(len(shards), np.int64)
    # One process looks for all: another may be finishing a shard meanwhile.
    if folder is not None and processes()[0] == 0:
        for number, batches in enumerate(shards):
            if _file(folder, number).is_file():
                scores[np.concatenate(batches)] = np.load(_file(folder, number))
                done[number] = 1
    return np.flatnonzero(summed(done) == 0).tolist()


def _file(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.npy"


def _within(progress: Progress | None, number: int, shards: int) -> Progress | None:
    if progress is None or shards == 1:
        return progress
    return lambda line: progress(f"shard {number + 1} of {shards}: {line}")
