"""Folders of several files, each of them cut short, emptied or overwritten: one line, or it does not matter."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cslab.collections.collection import load_collection, save_collection
from cslab.evaluation.measures import COLUMNS, read_scores, write_scores
from cslab.lexicon.lexicon import Lexicon, read_lexicon, write_lexicon
from cslab.lexicon.vectors import Vectors, load_vectors, save_vectors
from cslab.store import CslabError, run_stage
from tests.unit.test_collection import TOY


def stage(folder: Path) -> Any:
    """A stage with data, made or found."""

    def build(place: Path) -> dict[str, int]:
        (place / "data.txt").write_text("a\n")
        return {"lines": 1}

    return run_stage(folder, {"p": 0.5}, build)


def collection(folder: Path) -> list[Any]:
    found = load_collection(folder)
    return [list(texts.items()) for side in (found.queries, found.documents) for texts in side.values()]


def scores(folder: Path) -> None:
    row = dict.fromkeys(COLUMNS, "a") | {"seed": 1, "value": 0.5}
    write_scores(pd.DataFrame([row] * 50), folder / "scores.parquet")


def encoder(folder: Path) -> None:
    from cslab.ranking.cross_encoder import save_encoder
    from tests.tiny import tiny_encoder

    save_encoder(tiny_encoder(folder.parent / "tokenizer"), folder)


def load(folder: Path) -> Any:
    from cslab.ranking.cross_encoder import load_encoder

    return load_encoder(folder)


# What is saved, how, how it is opened, and the files of it without which it cannot be.
FOLDERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], set[str]]] = {
    "stage": (stage, stage, {"manifest.json", "summary.json"}),
    "collection": (
        lambda folder: save_collection(TOY, folder),
        collection,
        {"collection.json", "qrels.arrow", "de.arrow", "de.index.npy"},
    ),
    "vectors": (
        lambda folder: save_vectors(Vectors("en", ("a", "b"), np.eye(2, dtype=np.float32)), folder),
        load_vectors,
        {"record.json", "words.txt", "vectors.npy"},
    ),
    "lexicon": (
        lambda folder: write_lexicon(Lexicon.from_pairs("en", "de", [("fox", "Fuchs")]), folder / "lexicon.tsv.gz"),
        lambda folder: read_lexicon(folder / "lexicon.tsv.gz"),
        {"lexicon.tsv.gz", "lexicon.tsv.gz.json"},
    ),
    "scores": (scores, lambda folder: read_scores(folder / "scores.parquet"), {"scores.parquet"}),
    "encoder": (encoder, load, {"config.json", "model.safetensors", "tokenizer.json"}),
}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a list": lambda data: b"[]",
    "an object": lambda data: json.dumps({"name": "x"}).encode(),
    "noise": lambda data: bytes(range(256)) * 4,
}


def outcome(load: Callable[[Path], Any], folder: Path) -> str:
    try:
        load(folder)
    except CslabError as error:
        line, alone = str(error), error.__suppress_context__ or error.__context__ is None
        assert alone, "no traceback of a library before it"
        assert "\n" not in line
        assert str(folder) in line
        return "refused"
    return "opened"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_damaged_file_is_told_in_one_line(name, tmp_path):
    save, load, needed = FOLDERS[name]
    folder = tmp_path / name
    save(folder)
    assert outcome(load, folder) == "opened"
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for path, data in files.items():
        for damage, spoil in DAMAGE.items():
            path.write_bytes(spoil(data))
            found = outcome(load, folder)
            if path.name in needed and (path.name, damage) != ("summary.json", "an object"):  # it may hold anything
                assert found == "refused", (path.name, damage)
        path.write_bytes(data)
    assert outcome(load, folder) == "opened"


def test_a_stage_whose_manifest_is_damaged_says_what_to_delete(tmp_path):
    made = stage(tmp_path / "one")
    (made.path / "manifest.json").write_text('{"key": "a"')
    with pytest.raises(CslabError, match=f"delete the folder {made.path}, and the stage is made again"):
        stage(made.path)
    shutil.rmtree(made.path)
    assert stage(made.path).summary == {"lines": 1}
