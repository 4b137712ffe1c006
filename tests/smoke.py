"""The command line in a process of its own, and the notebooks it runs on the smoke profile."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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
    """Runs every notebook."""
    return Smoke(outputs, cslab("notebooks", "--profile", "smoke", outputs=outputs))
