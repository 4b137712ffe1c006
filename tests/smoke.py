"""The command line in a process of its own, and the notebooks it runs on the smoke profile."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from cslab.store import read_json, write_json
from tests.real import ROOT

WIDGET = "application/vnd.jupyter.widget-view+json"  # the output of a cell that shows a widget
NUMBERED = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


class Smoke(NamedTuple):
    """A folder of outputs, and how the process that filled it ended."""

    outputs: Path
    done: subprocess.CompletedProcess

    @property
    def home(self) -> Path:
        """The folder of the profile."""
        return self.outputs / "smoke"


def cslab(*words: str, outputs: Path) -> subprocess.CompletedProcess:
    """Runs a command without a network."""
    environment = os.environ | {"CSLAB_OUTPUTS": str(outputs), "CSLAB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "cslab", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)


def run_smoke(outputs: Path) -> Smoke:
    """Runs every notebook, unless another process has; what came of it lies in `done.json`."""
    told = outputs / "done.json"
    if not told.is_file():
        done = cslab("notebooks", "--profile", "smoke", outputs=outputs)
        write_json(
            told, {"args": done.args, "returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        )
    return Smoke(outputs, subprocess.CompletedProcess(**read_json(told)))
