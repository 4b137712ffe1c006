"""Scores of a dual encoder of text: the cosine of the vectors of query and document.

Each distinct text is encoded once. Gives runs over given candidates, and the ranking of a whole collection.

    vectors = TextVectors("minilm")
    vectors.cosines(["who ate it?"], ["The fox did."])                    # (1,) float32
    runs = rank_by_cosine(vectors, {"en-de": task}, name="minilm,-as-it-is")
    run = dense_run(vectors, queries, documents, depth=100)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from cslab.collections.trec import Run
from cslab.lexicon.search import nearest_rows
from cslab.store import CslabError

Side = Literal["query", "document"]
Progress = Callable[[str], None]
KEPT = 1_000_000  # vectors held in memory; of 384 numbers they take 1.5 GB


@dataclass
class TextVectors:
    """The vectors of texts, made when first asked for; the encoder is loaded then, too.

    Attributes:
        name: what `load_dual_encoder` takes.
        max_length: tokens of a text (default: the encoder's own).
        precision: "auto", "fp32" or "bf16"; products are always of float32.
        progress: called with a line of text now and then.
    """

    name: str
    max_length: int | None = None
    precision: str = "fp32"
    progress: Progress | None = None
    kept: dict[tuple[Side, str], torch.Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def encoder(self) -> Any:
        """The dual encoder."""
        from cslab.ranking.dual_encoder import load_dual_encoder

        return load_dual_encoder(self.name)

    def of(self, side: Side, texts: Sequence[str]) -> torch.Tensor:
        """Vectors of texts, (texts, d) float32 unit rows."""
        from cslab.ranking.dual_encoder import embed_texts

        if len(self.kept) > KEPT:
            self.kept.clear()
        new = [text for text in dict.fromkeys(texts) if (side, text) not in self.kept]
        if new:
            options = {"max_length": self.max_length, "precision": self.precision, "progress": self.progress}
            made = embed_texts(self.encoder, new, side=side, **options)
            self.kept.update(zip([(side, text) for text in new], made, strict=True))
        return torch.stack([self.kept[side, text] for text in texts])

    def cosines(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """The cosine of each query with the document beside it, float32."""
        if not len(queries):
            return np.zeros(0, np.float32)
        return (self.of("query", queries) * self.of("document", documents)).sum(1).numpy()


def rank_by_cosine(vectors: TextVectors, tasks: Mapping[str, Any], name: str) -> dict[str, Run]:
    """Scores every candidate of every query of several tasks, as `rerank_all` does with a cross-encoder.

    Raises:
        CslabError: if a candidate is in no document.
    """
    runs = {}
    for key, task in tasks.items():
        given = task.candidates
        rows = [(q, d) for q, found in given.scores.items() if q in task.queries for d in found]
        if lost := next((d for _, d in rows if d not in task.documents), None):
            raise CslabError(f"run {given.name}: candidate '{lost}' is in no document; give the documents of the run")
        found = vectors.cosines([task.queries[q] for q, _ in rows], [task.documents[d] for _, d in rows])
        scores: dict[str, dict[str, float]] = {q: {} for q in given.scores if q in task.queries}
        for (q, d), score in zip(rows, found.tolist(), strict=True):
            scores[q][d] = score
        runs[key] = Run(name, given.query_lang, given.doc_lang, given.first_stage, scores)
    return runs


def dense_run(
    vectors: TextVectors, queries: Mapping[str, str], documents: Mapping[str, str], depth: int, language: str = "en"
) -> Run:
    """The first documents of a whole collection for each query, by cosine."""
    qids, dids = list(queries), list(documents)
    keys = vectors.of("document", [documents[did] for did in dids])
    found = nearest_rows(vectors.of("query", [queries[qid] for qid in qids]), keys, depth)
    scores = {
        qid: {dids[row]: score for row, score in zip(rows, values, strict=True)}
        for qid, rows, values in zip(qids, found.rows.tolist(), found.scores.tolist(), strict=True)
    }
    return Run(vectors.name, language, language, f"{vectors.name}@{depth}", scores)
