"""An executed notebook as one self-contained HTML page, made for reading: code, parameters and long logs are folded.

Reads `outputs/<profile>/notebooks/NN_*.ipynb`, writes `NN_*.html` beside it. Nothing in a page asks another host for
anything: charts are pictures inside the page, and of widgets, which need a running kernel, the static twin is shown.

    export_notebook(Path("outputs/demo/notebooks/03_switch_text.ipynb"), "Switching")
"""

from pathlib import Path
from typing import Any

from cslab.store import atomic_open
from cslab.workbench.imports import quick_schemas
from cslab.workbench.parameters import TAG
from cslab.workbench.style import escape, page

WIDGET = "application/vnd.jupyter.widget-view+json"
INJECTED = "injected-parameters"  # papermill's tag of the cell that sets the values of a run
LONG = 8  # lines of a log that are shown as they are
NAME = "read.html.j2"
TEMPLATE = (
    "{%- extends 'basic/index.html.j2' -%}"
    "{% block input %}<details class='cs-code'><summary>{{ cell.metadata.get('cslab_fold', 'code') }}</summary>"
    "{{ super() }}</details>{% endblock input %}"
    "{% block stream_stdout %}{% set lines = output.text.strip().splitlines() %}{% if lines|length > "
    f"{LONG}"
    " %}<details class='cs-code'><summary>log, {{ lines|length }} lines: … {{ lines[-1].strip() | escape_html }}"
    "</summary>{{ super() }}</details>{% else %}{{ super() }}{% endif %}{% endblock stream_stdout %}"
)


def export_notebook(path: Path, title: str) -> Path:
    """Writes an executed notebook as one HTML file beside it.

    Args:
        path: the executed notebook.
        title: title of the page.

    Returns:
        The path of the HTML file.
    """
    with quick_schemas():
        import nbformat
        from jinja2 import DictLoader
        from nbconvert import HTMLExporter

    notebook = _one_parameters_cell(_without_widgets(nbformat.read(path, as_version=4)))
    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True,
        extra_loaders=[DictLoader({NAME: TEMPLATE})], template_file=NAME,
    )  # fmt: skip
    # A chart holds a specification for JupyterLab and a picture: the picture is for everybody else.
    exporter.config.NbConvertBase.display_data_priority = ["text/html", "image/png", "text/markdown", "text/plain"]
    body, _ = exporter.from_notebook_node(notebook)
    made, profile = path.with_suffix(".html"), escape(path.parent.parent.name)
    with atomic_open(made) as handle:
        handle.write(page(title, f'<nav>profile {profile} · <a href="../index.html">← all notebooks</a></nav>\n{body}'))
    return made


def _without_widgets(notebook: Any) -> Any:
    """Drops views of widgets and their state; a static twin stands beside each."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    return notebook


def _one_parameters_cell(notebook: Any) -> Any:
    """Puts the values of the run below those that the notebook declares, in one cell."""
    tagged = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", ())}
    if TAG in tagged:
        given = tagged[INJECTED].source.replace("# Parameters", "# of this run") if INJECTED in tagged else ""
        tagged[TAG].source = "\n".join(filter(None, (tagged[TAG].source, given)))
        tagged[TAG].metadata["cslab_fold"] = "parameters"
        notebook.cells = [cell for cell in notebook.cells if cell is not tagged.get(INJECTED)]
    return notebook
