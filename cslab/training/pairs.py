"""Training pairs: one positive and n negatives per group, by id.

Reads a collection's queries, documents and qrels in one language; gives ids and labels, which know nothing of the text
that a condition will show for them. On disk they are a `datasets` folder (Arrow) with `pairs.json` beside it.

    pairs = sample_pairs(collection, negatives=4, seed=1)
    pairs.qids[:5], pairs.labels[:5]            # one query five times; 1, 0, 0, 0, 0

Hard negatives come from ranks of BM25, or of given runs; a teacher (see `teachers.py`) can keep false ones out:

    pairs = sample_pairs(collection, runs=[read_run("run.trec.gz")], keep=MarginFilter(score, margin=1.0))
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cslab.collections.collection import Collection
from cslab.collections.trec import Run
from cslab.ranking.first_stage import build_index
from cslab.store import CslabError, nearest, read_json, write_json

Score = Callable[[Sequence[tuple[str, str]]], np.ndarray]  # (query, document) ids → scores, higher is more relevant
BLOCK = 256  # groups that a teacher scores together


@dataclass(frozen=True)
class Pairs:
    """Query id, document id and label of each pair; groups of `group` pairs follow one another, positives first."""

    qids: np.ndarray  # str
    dids: np.ndarray  # str
    labels: np.ndarray  # float32
    group: int
    language: str = "en"

    def __post_init__(self) -> None:
        if not len(self.qids) == len(self.dids) == len(self.labels) or self.group < 1 or len(self.qids) % self.group:
            raise CslabError(
                f"pairs: {len(self.qids)} queries, {len(self.dids)} documents and {len(self.labels)} labels "
                f"do not make groups of {self.group}; give whole groups"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def key(self) -> str:
        """A hash of all pairs."""
        digest = blake2b(f"{self.group}\t{self.language}".encode(), digest_size=8)
        for ids in (self.qids, self.dids):
            digest.update("\n".join(ids).encode())
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def generator(*key: object) -> np.random.Generator:
    """A random generator from a key: the same in every process and order."""
    digest = blake2b("\t".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class MarginFilter:
    """Leaves out negatives that a teacher scores almost as high as the positive: they may be relevant (2407.15831).

    Attributes:
        score: the teacher.
        share: keep scores up to this share of the positive's (the paper's TopK-PercPos, 0.95 there for cosines); the
            teacher's scores must not be negative then. None for no such limit.
        margin: keep scores that are at least so much lower than the positive's (TopK-MarginPos); for logits.
    """

    score: Score
    share: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.margin is None):
            raise CslabError(f"pairs: a filter with share {self.share} and margin {self.margin}; give one of the two")
        if not (0 < self.share <= 1 if self.share is not None else self.margin >= 0):
            given = self.margin if self.share is None else self.share
            raise CslabError(f"pairs: filter of {given:g}; a share is above 0 and at most 1, a margin not below 0")

    def kept(self, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        """Which negatives may be trained on; both (n,), scores of the teacher."""
        if self.share is None:
            return negatives <= positives - self.margin
        if len(negatives) and min(positives.min(), negatives.min()) < 0:
            raise CslabError("pairs: the teacher's scores are negative, so a share means nothing; give a margin")
        return negatives <= positives * self.share


def sample_pairs(
    collection: Collection,
    language: str = "en",
    negatives: int = 4,
    seed: int = 0,
    window: tuple[int, int] = (1, 100),
    bm25_share: float = 0.75,
    limit: int | None = None,
    qids: Iterable[str] | None = None,
    runs: Sequence[Run] = (),
    keep: MarginFilter | None = None,
) -> Pairs:
    """Draws a group for each relevant document of each query: itself, and negatives.

    A negative is never relevant to the query and never has the text of a relevant document. What is drawn for a query
    depends on the seed, the query and the documents alone, not on the other queries.

    Args:
        collection: where queries, documents and qrels come from.
        language: of all three.
        negatives: per positive (2305.05295 uses 4).
        seed: of all draws.
        window: first and last rank of the hard negatives.
        bm25_share: share of hard negatives, from BM25 or `runs`; the others, and those that these lack, are drawn from
            all documents.
        limit: groups to keep, a seeded sample.
        qids: queries to use (default: all with qrels).
        runs: rankings of the documents that take the place of BM25; the windows of several are put together.
        keep: which hard negatives may stay.

    Raises:
        CslabError: for a missing language, settings out of range, runs of other documents, or too few documents.
    """
    _check_sampling(collection, language, negatives, window, bm25_share)
    queries, documents, qrels = (
        part[language] for part in (collection.queries, collection.documents, collection.qrels)
    )
    wanted = list(qrels if qids is None else qids)
    positives = [(q, d) for q in wanted if q in queries for d, grade in qrels.get(q, {}).items() if grade > 0]
    if not positives:
        raise CslabError(f"{collection.name}: no query in '{language}' has a relevant document; nothing to train on")
    if limit is not None and limit < len(positives):
        chosen = generator("groups", seed).permutation(len(positives))[:limit]
        positives = [positives[i] for i in np.sort(chosen)]
    hard = round(negatives * bm25_share)
    ranked = _ranked(queries, documents, language, window, runs) if hard else lambda qid: []
    dids, rows = list(documents), []
    for start in range(0, len(positives), BLOCK):
        groups = [_Group(q, d, qrels[q], documents, seed) for q, d in positives[start : start + BLOCK]]
        for group in groups:
            group.draw_from(ranked(group.qid))
        _take_hard(groups, hard, keep)
        for group in groups:
            group.fill(dids, negatives)
            rows += [(group.qid, group.did), *((group.qid, did) for did in group.found)]
    labels = np.tile(np.array([1] + [0] * negatives, np.float32), len(positives))
    return Pairs(np.array([q for q, _ in rows]), np.array([d for _, d in rows]), labels, 1 + negatives, language)


def _check_sampling(
    collection: Collection, language: str, negatives: int, window: tuple[int, int], bm25_share: float
) -> None:
    name = collection.name
    for what in ("queries", "documents", "qrels"):
        held = getattr(collection, what)
        if language not in held:
            raise CslabError(f"{name}: no {what} in '{language}'; {nearest(language, list(held))}")
    if negatives < 1 or not 0 <= bm25_share <= 1 or not 1 <= window[0] <= window[1]:
        raise CslabError(
            f"pairs: {negatives} negatives, share {bm25_share} of ranks {window[0]} to {window[1]} cannot be drawn; "
            "use at least 1 negative, a share from 0 to 1 and a window of ranks from 1 on"
        )


def _ranked(
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    language: str,
    window: tuple[int, int],
    runs: Sequence[Run],
) -> Callable[[str], list[str]]:
    """Query id → the documents in the window of ranks; positives of one query follow one another and ask once."""
    first, last = window
    index = None if runs else build_index(documents, language)

    @lru_cache(maxsize=1)
    def ranked(qid: str) -> list[str]:
        if index:
            return list(index.search(queries[qid], last))[first - 1 :]
        held = (did for run in runs if qid in run.scores for did in run.ranking(qid, last)[first - 1 :])
        found = list(dict.fromkeys(held))
        if lost := next((did for did in found if did not in documents), None):
            raise CslabError(f"pairs: a run ranks '{lost}' for query '{qid}', in no document in '{language}'")
        return found

    return ranked


@dataclass
class _Group:
    """A positive, and its negatives as they are found: none relevant, none twice."""

    qid: str
    did: str
    judged: Mapping[str, int]
    documents: Mapping[str, str]
    seed: int
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = generator("negatives", self.seed, self.qid, self.did)
        self.taken = {d for d, grade in self.judged.items() if grade > 0}
        self.texts = {self.documents[d] for d in self.taken}
        self.coming: Iterator[str] = iter(())

    def draw_from(self, ranked: Sequence[str]) -> None:
        """Sets the order in which hard negatives are tried."""
        order = self.draw.permutation(len(ranked)).tolist()
        self.coming = (ranked[i] for i in order if self.free(ranked[i]))

    def free(self, candidate: str) -> bool:
        """Whether a document may be a negative, and is none yet."""
        return candidate not in self.taken and self.documents[candidate] not in self.texts

    def take(self, candidate: str) -> None:
        """Makes a document a negative."""
        self.taken.add(candidate)
        self.found.append(candidate)

    def fill(self, dids: Sequence[str], count: int) -> None:
        """Draws what is missing from all documents."""
        for _ in range(100 * count):
            if len(self.found) == count:
                return
            candidate = dids[self.draw.integers(len(dids))]
            if self.free(candidate):
                self.take(candidate)
        raise CslabError(
            f"pairs: {len(dids)} documents hold fewer than {count} negatives for query '{self.qid}'; ask for fewer"
        )


def _take_hard(groups: Sequence[_Group], hard: int, keep: MarginFilter | None) -> None:
    """Up to `hard` documents for each group, in the order drawn; with a filter, those that it keeps."""
    if keep is None:
        for group in groups:
            for candidate in islice(group.coming, hard):
                group.take(candidate)
        return

    def scores(rows: Sequence[tuple[_Group, str]]) -> np.ndarray:
        return np.asarray(keep.score([(group.qid, did) for group, did in rows]), np.float32)

    anchors = dict(zip(map(id, groups), scores([(group, group.did) for group in groups]), strict=True))
    # A few of each group are scored at a time: most groups need no more.
    while rows := [(group, did) for group in groups for did in islice(group.coming, hard - len(group.found))]:
        kept = keep.kept(np.array([anchors[id(group)] for group, _ in rows]), scores(rows))
        for (group, did), stays in zip(rows, kept.tolist(), strict=True):
            if stays:
                group.take(did)
            else:
                group.taken.add(did)


# --- on disk -------------------------------------------------------------------------------------------------


def save_pairs(pairs: Pairs, folder: str | Path) -> None:
    """Writes pairs as a `datasets` folder; `pairs.json` comes last, so it marks a whole one."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    columns: dict[str, Any] = {"qid": pairs.qids.tolist(), "did": pairs.dids.tolist(), "label": pairs.labels}
    Dataset.from_dict(columns).save_to_disk(str(folder))
    write_json(folder / "pairs.json", {"pairs": len(pairs), "group": pairs.group, "language": pairs.language})


def load_pairs(folder: str | Path) -> Pairs:
    """Reads what `save_pairs` wrote.

    Raises:
        CslabError: where no complete pairs lie, or they are damaged.
    """
    from datasets import load_from_disk

    folder = Path(folder)
    if not (folder / "pairs.json").is_file():
        raise CslabError(f"{folder}: no pairs.json, so no complete pairs; sample them there again")
    record = read_json(folder / "pairs.json")
    try:
        table = load_from_disk(str(folder)).with_format("arrow")[:]
        columns = [table.column(name).to_numpy() for name in ("qid", "did", "label")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CslabError(f"{folder}: pairs cannot be read ({str(error).splitlines()[0]}); sample them again") from None
    if len(columns[0]) != record["pairs"]:
        raise CslabError(f"{folder}: {len(columns[0])} pairs, pairs.json says {record['pairs']}; sample them again")
    ids = (np.array(column, dtype=str) for column in columns[:2])
    return Pairs(*ids, columns[2].astype(np.float32), record["group"], record["language"])
