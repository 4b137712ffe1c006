"""The attack one can watch, and the charts of robustness."""

import pandas as pd
import pytest

from cslab.evaluation.attacks import Budget, attack, attack_scores, replay
from cslab.evaluation.edits import word_edits
from cslab.store import CslabError
from cslab.workbench.attack_view import (
    AttackExplorer,
    falls,
    path_html,
    robust_curve,
    step_html,
    transfer_map,
)
from cslab.workbench.charts import figure
from tests.unit.test_attacks import LEXICONS, QUERIES, TASK, hashed


@pytest.fixture(scope="module")
def found():
    other = attack(lambda pairs: -hashed(pairs), TASK, word_edits(LEXICONS), Budget(3), "other")
    return {"mine": attack(hashed, TASK, word_edits(LEXICONS), Budget(3), "mine"), "other": other}


def test_the_query_changes_and_the_document_falls(found):
    first = falls(found["mine"])[0]
    steps = found["mine"].steps[first]
    view = step_html(TASK, found["mine"], first, 3)
    assert f"rank {steps[-1].rank} (was {steps[0].rank})" in view
    assert all(span.target in view for span in steps[-1].text.spans)
    assert view.count("as asked") == view.count("as attacked") == 1
    assert "relevant</span>" in view
    assert "q3" not in falls(found["mine"])  # nothing relevant among its candidates
    path = path_html(TASK, found["mine"], first)
    assert path.count(" changed: relevant") == len({step.text.text for step in steps})
    with pytest.raises(CslabError, match="no query 'q9'"):
        step_html(TASK, found["mine"], "q9", 1)


def test_the_explorer_and_its_twin(found):
    explorer = AttackExplorer(TASK, {f"{name}-s1": one for name, one in found.items()})
    assert explorer.words.value == 3
    assert explorer.query.value in QUERIES
    before = explorer.view.value
    explorer.words.value = 0
    assert explorer.view.value != before
    assert "0 of" in explorer.view.value
    held = explorer.query.value
    explorer.ranker.value = "other-s1"
    assert explorer.query.value == held
    assert "other" in explorer.settings()
    assert " changed: relevant" in explorer.static()
    assert "<script" not in explorer.static()
    with pytest.raises(CslabError, match="at least one attack"):
        AttackExplorer(TASK, {})


def test_charts(found):
    parts = [attack_scores(one, TASK.qrels) for one in found.values()]
    parts.append(attack_scores(replay(found["mine"], lambda pairs: -hashed(pairs), TASK, "other"), TASK.qrels))
    parts.append(attack_scores(replay(found["other"], hashed, TASK, "mine"), TASK.qrels))
    scores = pd.concat(parts, ignore_index=True)
    for chart in (robust_curve(scores), transfer_map(scores)):
        assert figure(chart, "caption").png().startswith(b"\x89PNG")
    for condition in ("ML-CS", "ML-CS + teacher"):
        names = {"mine": f"{condition}+vocab", "other": f"{condition}+fgm+vocab"}
        robust = robust_curve(scores.assign(system=scores["system"].map(names), attacked=scores["attacked"].map(names)))
        assert robust.to_dict()["facet"]["column"]["field"] == "panel"
        assert set(robust.data["line"]) == {"plain", "fgm"}
        assert set(robust.data["panel"]) == {condition}
    assert figure(robust, "caption").png().startswith(b"\x89PNG")
    with pytest.raises(CslabError, match="attack it first"):
        robust_curve(scores[scores["system"] != scores["attacked"]])
