"""Own data: the template runs on BEIR folders, a dictionary and an encoder, and ends with the same report."""

import subprocess
import sys

import pytest

from cslab.collections.atlas import atlas, atlas_lexicon
from cslab.lexicon.lexicon import write_muse
from cslab.resources import packaged
from cslab.store import read_json
from tests.real import ROOT
from tests.unit.test_own import write_beir

pytestmark = pytest.mark.slow

RUN = """import sys, papermill
papermill.execute_notebook(sys.argv[1], sys.argv[2], eval(sys.argv[3]), kernel_name="python3", progress_bar=False)"""


def test_the_template_makes_a_report_of_own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CSLAB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = atlas(split="test", passages=60, queries=12, languages=["en", "de"])
    trained = atlas(split="train", passages=60, queries=20, languages=["en"])
    for name, part, code in (("en", found, "en"), ("de", found, "de"), ("train", trained, "en")):
        judged = [(q, d) for q, rows in part.qrels[code].items() for d, grade in rows.items() if grade > 0]
        write_beir(tmp_path / name, part.documents[code], part.queries[code], qrels=judged)
    single = atlas_lexicon("de").top(1)
    write_muse(single.restrict(word for word in single if " " not in word), tmp_path / "words.txt")
    values = {
        "FOLDERS": {code: str(tmp_path / code) for code in ("en", "de")}, "TRAIN": [str(tmp_path / "train")],
        "LEXICONS": {"de": str(tmp_path / "words.txt")}, "ENCODER": "atlas", "STEPS": 2, "MAX_LENGTH": 96,
        "DEPTH": 3, "NOTEBOOKS": ["05"],
    }  # fmt: skip
    template, made = packaged("templates", "own_data.ipynb"), tmp_path / "own_data.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(template), str(made), repr(values)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    home = tmp_path / "outputs" / "mine"
    table = read_json(home / "scores" / "all" / "summary.json")["table"]
    assert set(table) == {"BM25", "Zero-shot", "ML-CS"}
    assert set(table["ML-CS"]) == {"MoIR", "CLIR", "MLIR"}
    assert "misses: queries by cause" in (home / "index.html").read_text()
    assert str(home / "index.html") in made.read_text()
