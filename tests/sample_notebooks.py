"""Tiny notebooks for tests of the runner and of the widgets in a browser, written as lists of cells."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'PROFILE: str = "demo"  # settings file\nSETTINGS: list = []  # key=value\nTIMES: int = 2  # how often'


def write_notebook(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """Writes a notebook; a cell that starts with `#  ` or a word of Markdown (`# Title`) is text, others are code."""
    made = [new_code_cell(parameters, metadata={"tags": ["parameters"]})] if parameters else []
    for source in cells:
        made.append(new_markdown_cell(source) if source.startswith(("# ", "## ")) else new_code_cell(source))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=made, metadata={"kernelspec": kernel}), path)
    return path


FINISH = """from types import SimpleNamespace
import os
from cslab.workbench.notebooks import finish
finish(SimpleNamespace(folder=os.environ["CSLAB_OUTPUTS"] + "/" + PROFILE), {number}, {figures})"""


# A small notebook with every kind of output that a report must show: text, a widget, a chart, a frame.
EXPLORE = (
    "# Switching\nWhat does a switched sentence look like?",
    """from cslab.collections.atlas import atlas_lexicon
from cslab.workbench.widgets import LexiconExplorer, SwitchExplorer, show
lexicons = {code: atlas_lexicon(code) for code in ("de", "ru", "ar")}
examples = [("Where is the old market?", "The pride of every garden in the old quarter is the pea."),
            ("What is the favourite drink there?", "In the old quarter the favourite drink is coffee.")]""",
    "## Try it\nMove a slider.",
    'show(SwitchExplorer(lexicons, examples, other="CoSDA-ML"), main=True)',
    "## A chart",
    """from cslab.switching.policy import Policy
from cslab.switching.share import tally
from cslab.workbench.charts import figure, realised_share_chart
texts = dict(enumerate(query for query, _ in examples))
rows = tally(Policy(languages=tuple(lexicons)), lexicons, texts, texts).rows()
figure(realised_share_chart(rows), "Words switched (bars) and p × coverage (ticks).", main=True)""",
    "## A word",
    "show(LexiconExplorer(lexicons, word='garden'))",
)


# The widgets that explain errors, and the training view; nothing is trained.
EXPLAIN = (
    "# Errors\nWhy are answers missed?",
    """from cslab.workbench.errors import ErrorExplorer
from cslab.workbench.explorer import show
from cslab.workbench.matrix import MatrixExplorer
from tests.small_experiment import SYSTEMS, small_experiment, small_scores""",
    "## Errors",
    """explorer = ErrorExplorer(small_experiment(), "en-de", *SYSTEMS)
show(MatrixExplorer(small_scores(), SYSTEMS[1], SYSTEMS[0], errors=explorer), main=True)
show(explorer, main=True)""",
    "## Training",
    """import json, os
from pathlib import Path
from types import SimpleNamespace
folder = Path(os.environ.get("CSLAB_OUTPUTS", ".")) / "training"
model = folder / "models" / "ml-cs-s1"
model.mkdir(parents=True, exist_ok=True)
rows = [{"step": s, "loss": 1 / s, "dev": 1 - 1 / s, "pairs_per_s": 99.0, "seconds": s} for s in range(1, 51)]
(model / "log.jsonl").write_text("".join(json.dumps(row) + chr(10) for row in rows))""",
    """from cslab.workbench.training import TrainingView
profile = SimpleNamespace(name="small", training=SimpleNamespace(steps=100))
rankers = [SimpleNamespace(slug="ml-cs-s1"), SimpleNamespace(slug="zero-shot-s1")]
systems = [SimpleNamespace(ranker=ranker) for ranker in rankers]
with TrainingView(SimpleNamespace(folder=folder, profile=profile, systems=lambda: systems)):
    pass""",
)
