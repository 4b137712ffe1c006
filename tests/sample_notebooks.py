"""Tiny notebooks for tests of the runner, written as lists of cells."""

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
