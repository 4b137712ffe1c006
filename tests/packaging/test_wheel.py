"""The wheel, built and installed outside the tree, is whole: files, command line, a notebook, and the README's example.

The environment has cslab of the wheel alone, and what cslab needs from the environment that runs the tests.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.real import ROOT

SCRIPTS = "Scripts" if os.name == "nt" else "bin"


class Installed(NamedTuple):
    """An environment with the wheel in it, and an empty folder to work in."""

    wheel: Path
    home: Path
    work: Path

    def run(self, *words: str) -> str:
        """What a command of the environment prints, run in the empty folder."""
        # Templates of nbconvert lie in the environment it was installed into.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "CSLAB_"))
        }
        environment |= {"JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"), "CSLAB_OFFLINE": "1"}
        command = [str(self.home / SCRIPTS / words[0]), *words[1:]]
        done = subprocess.run(
            command, cwd=self.work, env=environment, capture_output=True, encoding="utf-8", timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    """Builds the wheel from a copy, so that the build leaves nothing in the tree, and installs it."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    for name in ("cslab", "notebooks", "data/wiki"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place / "dist"), str(place))
    (wheel,) = (place / "dist").glob("*.whl")
    home, work = place / "environment", place / "work"
    venv.create(home, with_pip=False)
    work.mkdir()
    python = home / SCRIPTS / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    # A folder named in a .pth is read, its own .pth files are not: so an editable cslab there does not count.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    return Installed(wheel, home, work)


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_package_its_data_and_the_notebooks(installed):
    kept = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cslab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    kept |= {f"cslab/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    text = ROOT / "data" / "wiki"
    kept |= {f"cslab/wiki/{path.relative_to(text).as_posix()}" for path in text.rglob("*") if path.is_file()}
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == kept
    parts = ("atlas/encoder/model.safetensors", "profiles/demo.yaml", "templates/own_data.ipynb", "claims.tsv")
    assert {f"cslab/data/{part}" for part in parts} <= held


def test_it_is_the_installed_one_and_works_in_the_present_folder(installed):
    code = (
        "import cslab, cslab.config as c, cslab.resources as r; from cslab.evaluation.claims import load_claims;"
        "from cslab.collections.atlas_data import load_data;"
        "print(cslab.__file__, c.outputs_folder(), r.notebooks_folder(), len(load_claims()), len(load_data().concepts))"
    )
    file, outputs, notebooks, claims, concepts = installed.run("python", "-c", code).split()
    assert Path(file).is_relative_to(installed.home)
    assert Path(notebooks).is_relative_to(installed.home)
    assert Path(outputs).resolve() == (installed.work / "outputs").resolve()
    assert int(claims) > 10
    assert int(concepts) > 700


def test_the_command_line_runs_a_notebook(installed):
    assert "notebooks" in installed.run("cslab", "--help")
    told = installed.run("cslab", "notebooks", "--profile", "smoke", "--only", "00")
    assert "00_set_up: done" in told
    assert (installed.work / "outputs" / "smoke" / "index.html").is_file()


def test_the_example_in_the_readme_runs(installed):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## In Python\n\n((?:    .*\n|\n)+)", readme).group(1)
    told = installed.run("python", "-c", re.sub(r"^    ", "", block, flags=re.MULTILINE))
    assert told.splitlines()[-1] == "Which river flows through the old town?"
