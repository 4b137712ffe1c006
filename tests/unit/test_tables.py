"""Tables of papers and their forms."""

import csv
import io

import pandas as pd
import pytest

from cslab.config import make_profile
from cslab.evaluation.formats import to_csv, to_latex, to_markdown, write_table
from cslab.evaluation.measures import COLUMNS, by_seed
from cslab.evaluation.tables import matrix, paper_table, with_deviation
from cslab.languages import setting
from cslab.store import CslabError, write_json
from cslab.workbench.report import write_index


def tidy(values: dict, queries: int = 40, seeds=(1, 2)) -> pd.DataFrame:
    """Scores from (system, pair) → mean; the values of queries differ a little, those of seeds by 0.02."""
    rows = []
    for (system, pair), value in values.items():
        query, document = pair.split("-")
        for seed in seeds:
            shift = 0.02 * (seed - sum(seeds) / len(seeds))
            for q in range(queries):
                noise = 0.01 * (q % 2) - 0.005
                head = (system, seed, setting(query, document), query, document, f"q{q}", "MRR@10")
                rows.append((*head, value + shift + noise * (1 if system == "Zero-shot" else -1)))
    return pd.DataFrame(rows, columns=COLUMNS)


SCORES = tidy(
    {
        ("Zero-shot", "en-en"): 0.4, ("Zero-shot", "de-de"): 0.3, ("Zero-shot", "en-de"): 0.2,
        ("Zero-shot", "de-en"): 0.1,
        ("ML-CS", "en-en"): 0.4, ("ML-CS", "de-de"): 0.35, ("ML-CS", "en-de"): 0.3, ("ML-CS", "de-en"): 0.3,
        ("BL-CS", "en-de"): 0.28,
    }
)  # fmt: skip


def test_matrix_is_query_by_document_language():
    table = matrix(SCORES, "Zero-shot")
    assert table.loc["en", "de"] == pytest.approx(20)
    assert table.loc["de", "en"] == pytest.approx(10)
    assert pd.isna(matrix(SCORES, "BL-CS").reindex(columns=["en", "de"]).loc["en", "en"])
    with pytest.raises(CslabError, match="no system 'ML-C'; did you mean 'ML-CS'"):
        matrix(SCORES, "ML-C")


def test_seeds_are_kept_apart_and_their_deviation_is_shown():
    seeds = by_seed(SCORES)
    assert seeds[(seeds.system == "ML-CS") & (seeds.setting == "CLIR")].value.tolist() == pytest.approx([29, 31])
    assert "BL-CS" not in set(seeds.system)
    table = with_deviation(SCORES)
    assert table.loc["ML-CS", "CLIR"] == "30.0 ± 1.4"
    assert table.columns.tolist() == ["MoIR", "CLIR"]
    assert with_deviation(SCORES[SCORES.seed == 1]).loc["ML-CS", "CLIR"] == "29.0"


def test_paper_table_marks_differences_and_averages_complete_rows():
    table = paper_table(SCORES)
    assert table.columns.tolist() == ["en-en", "de-de", "MoIR avg", "en-de", "de-en", "CLIR avg"]
    assert table.loc["Zero-shot"].tolist() == ["40.0", "30.0", "35.0", "20.0", "10.0", "15.0"]
    assert table.loc["ML-CS"].tolist() == ["40.0", "35.0*", "37.5", "30.0*", "30.0*", "30.0"]
    assert table.loc["BL-CS", "en-de"] == "28.0*"
    assert table.loc["BL-CS", "CLIR avg"] is None
    assert "*" not in to_csv(paper_table(SCORES, baseline=None))
    with pytest.raises(CslabError, match="correction 'hol' is not known; did you mean 'holm'"):
        paper_table(SCORES, correction="hol")
    with pytest.raises(CslabError, match="no measure 'MAP'"):
        paper_table(SCORES, measure="MAP")


def test_markdown_keeps_bars_and_directions_apart():
    table = pd.DataFrame({"text": ["a|b", "ثعلب"], "value": [1.25, None]}, index=["x", "y"])
    lines = to_markdown(table, digits=2).splitlines()
    assert lines[1] == "| --- | --- | ---: |"
    assert lines[2] == r"| x | a\|b | 1.25 |"
    assert lines[3] == "| y | \u2068ثعلب\u2069 | – |"


def test_latex_escapes_everything_and_sets_rtl_apart():
    table = pd.DataFrame({"50%_of #": [r"a & b \ ~ ^ {x} $5", "نهر"]}, index=["24.0 ± 0.3", "<2>"])
    text = to_latex(table)
    assert r"50\%\_of \#" in text
    assert r"a \& b \textbackslash{} \textasciitilde{} \textasciicircum{} \{x\} \$5 \\" in text
    assert r"24.0 $\pm$ 0.3 &" in text
    assert r"\RL{نهر}" in text
    assert text.splitlines()[0].startswith("% \\RL comes with")
    assert to_latex(paper_table(SCORES)).splitlines()[0] == r"\begin{tabular}{lrrrrrr}"
    assert r"30.0$^{*}$" in to_latex(paper_table(SCORES))


def test_csv_can_be_read_back_with_full_numbers():
    table = pd.DataFrame({"text": ['says "no", twice', "ثعلب"], "value": [1 / 3, None]}, index=["x", "y"])
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows == [["", "text", "value"], ["x", 'says "no", twice', repr(1 / 3)], ["y", "ثعلب", ""]]
    assert "0.33," not in to_csv(table, digits=2)
    assert to_csv(table, digits=2).splitlines()[1].endswith(",0.33")


def test_tables_are_written_by_their_ending(tmp_path):
    for name in ("t.md", "t.tex", "t.csv"):
        write_table(paper_table(SCORES), tmp_path / name)
        assert "ML-CS" in (tmp_path / name).read_text()
    with pytest.raises(CslabError, match="no table form has this ending"):
        write_table(paper_table(SCORES), tmp_path / "t.docx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.md", "t.tex"]


def test_the_report_says_how_many_seeds_and_where_its_figures_come_from(tmp_path):
    scored = {"measure": "MRR@10", "table": {"B": {"CLIR": 9.0}, "A": {"CLIR": 20.0}}}
    (tmp_path / "scores" / "all").mkdir(parents=True)
    (tmp_path / "models" / "a-s1").mkdir(parents=True)
    write_json(tmp_path / "models" / "a-s1" / "summary.json", {"device": "cpu", "precision": "fp32"})
    versions = {"torch": "9.9", "machine": "Linux x"}
    write_json(tmp_path / "models" / "a-s1" / "manifest.json", {"versions": versions})
    profile = make_profile({"name": "small"})
    write_json(tmp_path / "scores" / "all" / "summary.json", scored | {"seeds": 1})
    page = write_index(tmp_path, profile).read_text()
    assert "One seed: differences are those between these models" in page
    assert "Trained in fp32 on cpu of Linux x, torch 9.9." in page
    write_json(tmp_path / "scores" / "all" / "summary.json", scored | {"seeds": 3, "spread": {"A": {"CLIR": 1.5}}})
    page = write_index(tmp_path, profile).read_text()
    assert "± is the standard deviation over 3 seeds" in page
    assert "20.0 ± 1.5" in page
    assert ">9.0<" in page
