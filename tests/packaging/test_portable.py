"""Without the modules that POSIX alone has, every module is imported, the command line answers and stages are made."""

import os
import subprocess
import sys

from tests.real import ROOT

HIDDEN = ("fcntl", "resource", "pwd", "grp", "termios")

CODE = f"""
import importlib, pkgutil, sys, tempfile
from pathlib import Path
sys.modules.update(dict.fromkeys({HIDDEN!r}))
import cslab
names = [found.name for found in pkgutil.walk_packages(cslab.__path__, "cslab.")]
for name in names:
    importlib.import_module(name)
print(len(names), "modules")
with tempfile.TemporaryDirectory() as folder:
    from cslab.store import run_stage
    print(run_stage(Path(folder) / "a" / "b", {{}}, lambda place: {{"made": 1}}).summary)
from cslab.__main__ import main
sys.argv = ["cslab", "--help"]
main()
"""


def test_nothing_needs_what_posix_alone_has():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 170
    assert "{'made': 1}" in done.stdout
    assert "notebooks" in done.stdout
