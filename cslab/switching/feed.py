"""Switched text where training wants it: over a dataset, in a collator of text, in a collator of token ids, in windows.

All four draw alike: the key of a text is (seed, epoch, its id), so they give the same text for the same epoch. A column
is named with its side and the column that holds the texts' ids:

    columns = {"query": ("query", "qid"), "passage": ("document", "did")}
    switched = switch_dataset(dataset, switcher, columns, seed=1, num_proc=4)            # once, on disk
    trainer.data_collator = SwitchingCollator(trainer.data_collator, switcher, columns)  # anew in every epoch
    trainer.add_callback(epoch_callback(trainer.data_collator))

`transformers.Trainer` takes the ids alone, `Dataset.from_dict({"qid": …, "did": …, "label": …})`; no tokenizer runs:

    collator = TokenCollator(TokenSwitcher(tokenizer, switcher, queries, documents), max_length=256, seed=1)
    trainer = Trainer(model, TrainingArguments(out, remove_unused_columns=False), collator, dataset)
    trainer.add_callback(epoch_callback(collator))

A row whose id is None is left as it is: so an evaluation set goes through the same collator untouched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from cslab.store import CslabError, fingerprint, nearest
from cslab.switching.draw import Key, Side
from cslab.switching.layout import Frame, Tokens, lay_out
from cslab.switching.policy import check_side
from cslab.switching.switch import Switcher
from cslab.switching.tokens import TokenSwitcher

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback

# Text column → its side, and the column of its ids (None: the row's number).
Columns = Mapping[str, tuple[Side, str | None]]


def _check_columns(columns: Columns, present: Sequence[str]) -> None:
    for column, (side, name) in columns.items():
        check_side(side)
        for wanted in (column, name):
            if wanted is not None and wanted not in present:
                raise CslabError(f"switching: no column '{wanted}'; {nearest(wanted, list(present))}")


@dataclass(frozen=True)
class SwitchColumns:
    """Switches columns of a batch of rows, for `datasets.map(..., batched=True, with_indices=True)`."""

    switcher: Switcher
    columns: Columns
    seed: int = 0
    epoch: int = 0
    copy: int = 0

    def __call__(self, batch: Mapping[str, list[Any]], indices: Sequence[int]) -> dict[str, list[str]]:
        """The switched columns of a batch."""
        new = {}
        for column, (side, name) in self.columns.items():
            ids = indices if name is None else batch[name]
            rows = zip(batch[column], ids, strict=True)
            new[column] = [
                text if id_ is None else self.switcher.text(text, Key(self.seed, self.epoch, id_, self.copy), side)
                for text, id_ in rows
            ]
        return new


def switch_dataset(
    dataset: "Dataset",
    switcher: Switcher,
    columns: Columns,
    seed: int = 0,
    epoch: int = 0,
    copy: int = 0,
    num_proc: int | None = None,
) -> "Dataset":
    """Switches columns of a `datasets` dataset, in one or several processes, batch by batch from and to disk.

    Raises:
        CslabError: for a column that is not there.
    """
    _check_columns(columns, dataset.column_names)
    # The library would hash the switcher by pickling it, memory of its rows included: then nothing is found again.
    what = [dataset._fingerprint, switcher.policy.to_dict(), _lexicons_key(switcher), dict(columns), seed, epoch, copy]
    switch = SwitchColumns(switcher, dict(columns), seed, epoch, copy)
    named = {"new_fingerprint": fingerprint(what), "desc": f"switching ({switcher.policy.name})"}
    return dataset.map(switch, batched=True, with_indices=True, num_proc=num_proc, **named)


def _lexicons_key(switcher: Switcher) -> str:
    digest = blake2b(digest_size=8)
    for code, held in switcher.choices.lexicons.items():
        for lexicon in held:
            digest.update(f"\n{code}\t{lexicon.source}\t{lexicon.target}".encode())
            for row in lexicon.rows():
                digest.update("\t".join(row).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


# --- collators -----------------------------------------------------------------------------------------------


class _Follows:
    """Something that draws anew in every epoch."""

    def __init__(self, seed: int) -> None:
        import torch

        self.seed = seed
        # In shared memory: workers of a data loader, also those that live on, read the epoch that the trainer set.
        self._shared = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch drawn for, in all workers."""
        return int(self._shared)

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._shared.fill_(value)


class SwitchingCollator(_Follows):
    """Switches the texts of a batch, drops their ids, and hands them to another collator.

    For sentence-transformers' `CrossEncoderTrainer` (whose losses tokenise text themselves) and any other trainer. What
    is asked of the collator and is not its own is asked of the inner one.
    """

    def __init__(self, inner: Callable[[list[dict]], Any], switcher: Switcher, columns: Columns, seed: int = 0) -> None:
        super().__init__(seed)
        self.inner, self.switcher, self.columns = inner, switcher, dict(columns)

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        """Collates rows."""
        _check_columns(self.columns, list(features[0]))
        batch = {name: [row[name] for row in features] for name in features[0]}
        batch |= SwitchColumns(self.switcher, self.columns, self.seed, self.epoch)(batch, range(len(features)))
        kept = [name for name in batch if name not in {name for _, name in self.columns.values()}]
        return self.inner([{name: batch[name][row] for name in kept} for row in range(len(features))])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "inner" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.inner, name)


class TokenCollator(_Follows):
    """Rows of ids and labels → tensors of switched pairs, without running a tokenizer; for `transformers.Trainer`.

    Rows hold a query id, a document id and, under `label`, a label; set `remove_unused_columns=False`.
    """

    def __init__(
        self, tokens: TokenSwitcher, max_length: int, seed: int = 0, query: str = "qid", document: str = "did"
    ) -> None:
        super().__init__(seed)
        self.pairs, self.query, self.document = PairIds(tokens, max_length, seed), query, document

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        """Collates rows."""
        import torch

        _check_columns({self.query: ("query", None), self.document: ("document", None)}, list(features[0]))
        qids, dids = ([row[name] for row in features] for name in (self.query, self.document))
        batch = self.pairs.window(self.epoch, qids, dids).batch(np.arange(len(features)))
        if "label" in features[0]:
            batch["labels"] = torch.tensor([row["label"] for row in features])
        return batch


def epoch_callback(collator: SwitchingCollator | TokenCollator) -> "TrainerCallback":
    """A callback that tells a collator the trainer's epoch, also after resuming."""
    from transformers import TrainerCallback

    class _Epoch(TrainerCallback):
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # A sum of step shares: an epoch's end may read 0.9999….
            collator.epoch = int((state.epoch or 0) + 1e-6)

    return _Epoch()


# --- the project's loop --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """Switched pairs of one epoch: `lengths` to sort them by, and batches."""

    queries: Tokens
    documents: Tokens
    query_rows: np.ndarray
    document_rows: np.ndarray
    frame: Frame
    max_length: int

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each pair after truncation, special tokens included."""
        both = self.queries.lengths[self.query_rows] + self.documents.lengths[self.document_rows] + self.frame.extra
        return np.minimum(both, self.max_length)

    def batch(self, rows: Sequence[int] | np.ndarray, multiple: int = 1) -> dict[str, "torch.Tensor"]:
        """Tensors of some pairs, padded to the longest of them (and to a multiple of `multiple`)."""
        import torch

        asked, answered = self.query_rows[rows], self.document_rows[rows]
        arrays = lay_out(*(self.frame, self.queries.at(asked), self.documents.at(answered)), self.max_length, multiple)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


@dataclass(frozen=True)
class PairIds:
    """Makes windows of switched pairs; a text is drawn once per epoch, however many pairs it is in."""

    tokens: TokenSwitcher
    max_length: int
    seed: int = 0

    def __post_init__(self) -> None:
        self.frame.check(self.max_length)

    @property
    def frame(self) -> Frame:
        """The tokenizer's frame of a pair."""
        return self.tokens.frame

    def window(self, epoch: int, qids: Sequence[str], dids: Sequence[str], copy: int = 0) -> Window:
        """The pairs (`qids[n]`, `dids[n]`) as they read in an epoch; further copies are further draws of the same."""
        sides = []
        for side, ids in (("query", qids), ("document", dids)):
            names = {name: row for row, name in enumerate(dict.fromkeys(ids))}
            order = np.array([names[name] for name in ids], np.int64)
            sides.append((self.tokens.draw(side, list(names), self.seed, epoch, copy, self.max_length).tokens, order))
        (queries, query_rows), (documents, document_rows) = sides
        return Window(queries, documents, query_rows, document_rows, self.frame, self.max_length)
