"""The matrix view: the numbers of the score table, marks of significance, cells that open the error explorer."""

import pandas as pd
import pytest

from cslab.evaluation.significance import compare
from cslab.store import CslabError
from cslab.workbench.errors import ErrorExplorer
from cslab.workbench.matrix import MatrixExplorer, cells
from tests.unit.test_charts import tidy
from tests.unit.test_errors import experiment
from tests.unit.test_html import well_formed


def buttons(explorer):
    return [widget for widget in explorer.grid.children if hasattr(widget, "click")]


def test_cells_hold_the_means_and_the_tested_differences():
    scores = tidy()
    plain = cells(scores, "ML-CS")
    rows = scores[(scores["system"] == "ML-CS") & (scores["doc_lang"] == "de")]
    assert plain.loc["en-de", "value"] == pytest.approx(100 * rows["value"].mean())
    gains = cells(scores, "ML-CS", "Zero-shot")
    tested = compare(scores, "Zero-shot").set_index("pair")
    assert gains["value"].to_dict() == pytest.approx(tested["difference"].to_dict())
    assert set(gains["mark"]) == {"*"}
    same = scores.assign(system="Again")
    assert set(cells(pd.concat([scores[scores["system"] == "ML-CS"], same[scores["system"] == "ML-CS"]]), "Again",
                     "ML-CS")["mark"]) == {""}  # fmt: skip


@pytest.mark.parametrize(("names", "words"), [(("ML-SC",), "did you mean"), (("ML-CS", "Zeroshot"), "did you mean")])
def test_unknown_systems_are_refused(names, words):
    with pytest.raises(CslabError, match=words):
        cells(tidy(), *names)
    with pytest.raises(CslabError, match="no row"):
        MatrixExplorer(tidy().iloc[:0])


def test_every_control_acts_and_the_twin_shows_the_same():
    scores = pd.concat([tidy(), tidy(("Other",), ("de-de",))])
    explorer = MatrixExplorer(scores, "ML-CS")
    assert len(explorer.grid.children) == 4 * 5  # three languages of queries, four of documents, and the heads
    shown = [b.description for b in buttons(explorer)]
    assert sum(text == "–" for text in shown) == 8
    assert all(text in explorer.static() for text in shown)
    explorer.baseline.value = "Zero-shot"
    gains = [b.description for b in buttons(explorer)]
    assert all(text in explorer.static() for text in gains)
    assert sum(text.startswith("+") and text.endswith("*") for text in gains) == 4
    assert "p &lt; 0.05 (paired t-test over queries, Holm)" in explorer.view.value
    well_formed(explorer.static())
    explorer.system.value = "Other"
    assert "no common pair" in explorer.view.value
    assert buttons(explorer) == []
    assert "no common pair" in explorer.static()
    explorer.baseline.value = "Other"
    assert not explorer.signed
    assert all(c.description for c in explorer._controls)


def test_a_cell_opens_its_queries():
    errors = ErrorExplorer(experiment())
    rename = {"Zero-shot": "A", "ML-CS": "B"}
    scores = tidy(pairs=("en-de", "en-xx")).assign(system=lambda t: t["system"].map(rename))
    explorer = MatrixExplorer(scores, "A", errors=errors)
    by_name = {button.tooltip.split(":")[0]: button for button in buttons(explorer)}
    by_name["English → many languages"].click()
    assert errors.view.value.count("B has no run") == 0 or "B has no run" in explorer.view.value
    by_name["English → German"].click()
    assert (errors.pair, errors.second.value) == ("en-de", "A")
    assert "opened in the error explorer" in explorer.view.value
    explorer.baseline.value = "B"
    assert "opened" not in explorer.view.value
    {b.tooltip.split(":")[0]: b for b in buttons(explorer)}["English → many languages"].click()
    assert "B has no run for en-xx" in explorer.view.value
