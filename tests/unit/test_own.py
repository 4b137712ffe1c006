"""Own data: folders and dictionaries are looked at, written as a profile, and mistakes told before anything runs."""

import gzip
import json
from dataclasses import replace

import pytest

from cslab.config import load_profile
from cslab.store import CslabError
from cslab.workbench.own import OwnData, look, reach, write_profile

DOCUMENTS = {
    "en": {"d1": "The fox lives in the forest.", "d2": "The hen lives on the farm.", "d3": "Rain falls."},
    "de": {"d1": "Der Fuchs lebt im Wald.", "d2": "Das Huhn lebt auf dem Hof.", "d3": "Regen fällt."},
}
QUERIES = {
    "en": {"q1": "Where does the fox live?", "q2": "Who lives on the farm?", "t1": "What falls?"},
    "de": {"q1": "Wo lebt der Fuchs?", "q2": "Wer lebt auf dem Hof?"},
}


def write_beir(folder, documents, queries, **splits):
    """A BEIR folder; `splits` are rows of qrels by split, `qrels` for a single file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        rows = (json.dumps({"_id": key, "text": text}, ensure_ascii=False) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    for split, rows in splits.items():
        path = folder / "qrels.tsv" if split == "qrels" else folder / "qrels" / f"{split}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t1\n" for q, d in rows))
    return folder


@pytest.fixture
def mine(tmp_path):
    judged = [("q1", "d1"), ("q2", "d2")]
    train = write_beir(tmp_path / "train", DOCUMENTS["en"], QUERIES["en"], qrels=[("t1", "d3")])
    for code in ("en", "de"):
        write_beir(tmp_path / code, DOCUMENTS[code], QUERIES[code], qrels=judged)
    (tmp_path / "words.txt").write_text(
        "fox Fuchs\nlives lebt\nforest Wald\ntaxi taxi\nfalls fällt\n", encoding="utf-8"
    )
    folders = {code: str(tmp_path / code) for code in ("en", "de")}
    return OwnData("mine", folders, {"de": str(tmp_path / "words.txt")}, "atlas", [str(train)])


def test_what_is_there_is_counted(mine):
    table = look(mine)
    assert table.index.tolist() == ["evaluation, en", "evaluation, de", "training, en"]
    assert table["documents"].tolist() == [3, 3, 3]
    assert table["queries"].tolist() == [2, 2, 1]
    assert table["words of a query"].tolist() == [5.0, 4.5, 2.0]
    assert reach(mine).loc["de"].tolist() == [5, 0.5, 0.2]


def test_the_profile_reads_what_was_given(mine, tmp_path):
    path = write_profile(mine, tmp_path / "out", steps=7, depth=2, max_length=48)
    profile = load_profile(str(path))
    assert profile.evaluation.pairs == ["en-en", "en-de", "de-en", "de-de", "xx-xx"]
    assert (profile.training.steps, profile.evaluation.depth, profile.evaluation.max_length) == (7, 2, 48)
    assert profile.pair_conditions == ["en-de"]
    assert (tmp_path / "out" / "dictionaries" / "en-de.tsv").is_file()


def test_a_dictionary_takes_the_place_of_the_one_before(mine, tmp_path):
    write_profile(mine, tmp_path / "out", steps=7)
    packed = tmp_path / "words.txt.gz"
    packed.write_bytes(gzip.compress("fox Füchsin\n".encode()))
    write_profile(replace(mine, lexicons={"de": str(packed)}), tmp_path / "out", steps=7)
    assert [path.name for path in (tmp_path / "out" / "dictionaries").iterdir()] == ["en-de.tsv.gz"]


def test_languages_that_share_no_questions_are_not_crossed(mine, tmp_path):
    texts = {f"x{key}": text for key, text in QUERIES["de"].items()}
    write_beir(tmp_path / "de", DOCUMENTS["de"], texts, qrels=[("xq1", "d1")])
    assert mine.pairs == ["en-en", "de-de"]


def test_the_training_split_of_the_english_folder_is_taken(mine, tmp_path):
    write_beir(tmp_path / "en", DOCUMENTS["en"], QUERIES["en"], train=[("t1", "d3")], test=[("q1", "d1")])
    data = OwnData("mine", {"en": str(tmp_path / "en")}, mine.lexicons, split="test")
    assert data.places == (f"{tmp_path / 'en'}:train",)
    assert list(data.training.queries["en"]) == ["t1"]
    assert data.pairs == ["en-en"]
    assert load_profile(str(write_profile(data, tmp_path / "out"))).training.folders == [f"{tmp_path / 'en'}:train"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"folders": {}}, "at least one language"),
        ({"lexicons": {}}, "one dictionary"),
        ({"lexicons": {"en": "x.tsv"}}, "target language"),
        ({"folders": {"xy": "x"}}, "language 'xy' is not known"),
        ({"train": []}, "nothing to train on"),
        ({"folders": {"en": "nowhere"}}, "'nowhere' is not in .*; give its whole path"),
        ({"lexicons": {"de": "nowhere.tsv"}}, "is not in"),
    ],
)
def test_mistakes_are_told_in_one_line(mine, tmp_path, change, words):
    given = {"folders": mine.folders, "lexicons": mine.lexicons, "train": mine.train} | change
    with pytest.raises(CslabError, match=words) as raised:
        write_profile(OwnData("mine", **given), tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "profile.yaml").exists()
    with pytest.raises(CslabError, match="step"):
        write_profile(mine, tmp_path / "out", step=3)
