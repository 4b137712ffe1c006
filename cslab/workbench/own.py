"""Own data: BEIR folders, dictionary files and an encoder, checked and written as a profile that everything runs on.

Reads the folders and files; writes `<folder>/profile.yaml` and, where dictionaries have names of their own, copies of
them in `<folder>/dictionaries` as `en-xx.tsv`. The profile is then like any other:

    data = OwnData("mine", {"en": "mine/en", "de": "mine/de"}, {"de": "mine/words.tsv"}, encoder="me5")
    look(data)                                             # what was found, a row per folder
    path = write_profile(data, "outputs/mine", steps=1000)
    run_notebooks(str(path))                               # or: cslab notebooks --profile outputs/mine/profile.yaml
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cslab.collections.beir import merge_folders, read_beir
from cslab.collections.collection import Collection
from cslab.config import make_profile
from cslab.languages import MIXED, language
from cslab.lexicon.dictionaries import read_dictionary
from cslab.lexicon.lexicon import Lexicon
from cslab.resources import home
from cslab.store import CslabError, atomic_open, atomic_path
from cslab.text import words

SOURCE = "en"  # the language of training text and of the dictionaries' first column


@dataclass(frozen=True)
class OwnData:
    """What a user brings.

    Attributes:
        name: of the profile and its folder of outputs.
        folders: language → BEIR folder (`corpus.jsonl`, `queries.jsonl`, qrels); equal ids say that texts correspond.
        lexicons: target language → dictionary from English: TSV or MUSE text.
        encoder: hub id, folder, `me5`, `minilm` or `atlas`.
        train: BEIR folders of English questions to train on, perhaps with a split: `mine/en:train`.
        split: of the folders, for evaluation, where their qrels have splits.
    """

    name: str
    folders: Mapping[str, str]
    lexicons: Mapping[str, str]
    encoder: str = "me5"
    train: Sequence[str] = ()
    split: str = ""

    def __post_init__(self) -> None:
        if not self.folders or not self.lexicons:
            raise CslabError("own data: give a BEIR folder of at least one language, and one dictionary from English")
        for code in (*self.folders, *self.lexicons):
            language(code)
        if SOURCE in self.lexicons:
            raise CslabError("own data: a dictionary from English into 'en' was given; name it by its target language")

    @cached_property
    def parts(self) -> dict[str, Collection]:
        """Each folder, read and checked."""
        return {code: read_beir(place(folder), code, self.split or None) for code, folder in self.folders.items()}

    @cached_property
    def training(self) -> Collection:
        """The English questions and answers to train on."""
        return merge_folders(self.places)

    @cached_property
    def dictionaries(self) -> dict[str, Lexicon]:
        """Each dictionary, read and checked."""
        return {code: read_dictionary(place(path), SOURCE, code) for code, path in self.lexicons.items()}

    def check(self) -> None:
        """Reads everything, so that a mistake is told now and not in the middle of a run.

        Raises:
            CslabError: for the first mistake found.
        """
        for read in ("parts", "dictionaries", "training"):
            getattr(self, read)

    @property
    def places(self) -> tuple[str, ...]:
        """Folders to train on, with their splits: those given, or the training split of the English folder.

        Raises:
            CslabError: if there is none.
        """
        if self.train:
            return tuple(_with_split(text) for text in self.train)
        if SOURCE in self.folders:
            folder = place(self.folders[SOURCE])
            if any(folder.glob("qrels/train.*")) or any(folder.glob("qrels.train.*")):
                return (f"{folder}:train",)
        raise CslabError(
            "own data: nothing to train on; name BEIR folders of English questions, or add qrels/train.tsv there"
        )

    @property
    def pairs(self) -> list[str]:
        """Every pair of a query and a document language that have a judged query in common, and the pools."""
        asked = {code: set(part.queries[code]) for code, part in self.parts.items()}
        judged = {code: set(part.qrels[code]) for code, part in self.parts.items()}
        found = [f"{q}-{d}" for q, d in product(self.parts, repeat=2) if asked[q] >= judged[d] or q == d]
        whole = len(self.parts) > 1 and SOURCE in self.parts and len(found) == len(self.parts) ** 2
        return found + ([f"{MIXED}-{MIXED}"] if whole else [])


def look(data: OwnData) -> pd.DataFrame:
    """What the folders hold: documents, queries, judged pairs, words of a text, and how far the dictionaries reach.

    Raises:
        CslabError: for anything that is missing or malformed, with file, line and remedy.
    """
    rows = [_row(f"evaluation, {code}", part, code) for code, part in data.parts.items()]
    return pd.DataFrame([*rows, _row("training, en", data.training, SOURCE)]).set_index("what")


def _row(what: str, part: Collection, code: str) -> dict[str, Any]:
    queries, documents = part.queries[code], part.documents[code]
    return {
        "what": what, "documents": len(documents), "queries": len(queries),
        "judged pairs": sum(map(len, part.qrels[code].values())),
        "words of a query": _mean(queries), "words of a document": _mean(documents),
    }  # fmt: skip


def _mean(texts: Mapping[str, str], most: int = 1000) -> float:
    some = [len(words(text)) for _, (_, text) in zip(range(most), texts.items(), strict=False)]
    return round(sum(some) / max(1, len(some)), 1)


def reach(data: OwnData, most: int = 2000) -> pd.DataFrame:
    """How many of the running words of English training questions each dictionary knows."""
    texts = [text for _, (_, text) in zip(range(most), data.training.queries[SOURCE].items(), strict=False)]
    tokens = [word.text for text in texts for word in words(text)]
    rows = {
        code: {"entries": len(found), "known words": found.coverage(tokens), "identities": found.identity_share()}
        for code, found in data.dictionaries.items()
    }
    return pd.DataFrame(rows).T.astype({"entries": int}).rename_axis("language")


# --- the profile ---------------------------------------------------------------------------------------------


def write_profile(
    data: OwnData,
    folder: str | Path,
    conditions: Sequence[str] = ("Zero-shot", "ML-CS"),
    queries: int = 300,
    depth: int = 50,
    max_length: int = 256,
    **training: Any,
) -> Path:
    """Writes the profile of an experiment on own data.

    Args:
        data: checked by writing it.
        folder: where the profile goes.
        conditions: rankers to train.
        queries: most queries to evaluate with; a seeded sample where there are more.
        depth: candidates per query.
        max_length: tokens of a query with its document.
        training: settings of `TrainingSettings`, such as `steps`, `batch` and `lr`.

    Returns:
        The path of the profile.

    Raises:
        CslabError: for data or a setting that does not fit.
    """
    folder = Path(folder).resolve()
    data.check()
    crossing = [pair for pair in data.pairs if MIXED not in pair and len(set(pair.split("-"))) == 2]
    collection = {"source": "beir", "languages": list(data.folders), "queries": queries}
    collection |= {"folders": {code: str(place(path)) for code, path in data.folders.items()}}
    collection |= {"split": data.split} if data.split else {}
    lengths = {"max_length": max_length}
    values = {
        "name": data.name,
        "about": f"Own data: {', '.join(data.folders)}; encoder {data.encoder}",
        "collection": collection,
        "lexicon": {"source": "tsv", "languages": list(data.lexicons), "folder": str(folder / "dictionaries")},
        "encoder": {"name": _encoder(data.encoder)},
        "training": {"folders": list(data.places), **lengths, **training},
        "evaluation": {"pairs": data.pairs, "protocol": "own", "depth": depth, **lengths},
        "conditions": list(conditions),
        "pair_conditions": crossing[:1],
    }
    make_profile(values, "own data")
    _copy_dictionaries(data, folder / "dictionaries")
    path = folder / "profile.yaml"
    with atomic_open(path) as handle:
        yaml.safe_dump(values, handle, sort_keys=False, allow_unicode=True, width=110)
    return path


def place(path: str | Path) -> Path:
    """The whole path of a file or folder; a relative one is looked up here, then in the clone, if there is one.

    Raises:
        CslabError: if it is in neither.
    """
    roots = list(dict.fromkeys([Path.cwd(), home()]))
    found = next((root / Path(path).expanduser() for root in roots if (root / Path(path).expanduser()).exists()), None)
    if found is None:
        raise CslabError(f"own data: '{path}' is not in {' or '.join(map(str, roots))}; give its whole path")
    return found.resolve()


def _with_split(text: str) -> str:
    """A folder to train on with its whole path; a split may follow it."""
    folder, colon, split = text.rpartition(":")
    try:
        return str(place(text))
    except CslabError:
        if not colon:
            raise
        return f"{place(folder)}:{split}"


def _encoder(name: str) -> str:
    """A folder with its whole path; any other name as it is."""
    return next((str((root / name).resolve()) for root in (Path.cwd(), home()) if (root / name).is_dir()), name)


def _copy_dictionaries(data: OwnData, folder: Path) -> None:
    """Puts a dictionary `en-xx.tsv` for each language into a folder."""
    for code, path in data.lexicons.items():
        source, endings = place(path), (".tsv.gz", ".tsv") if str(path).endswith(".gz") else (".tsv", ".tsv.gz")
        target, other = (folder / f"{SOURCE}-{code}{ending}" for ending in endings)
        if source != target:
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
        other.unlink(missing_ok=True)  # of an earlier profile: both would be there, and one be read
