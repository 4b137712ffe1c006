"""The frame holds together: the conda environment, the constraints and the package ask for the same things."""

import re
import tomllib

import yaml

from cslab.ranking import me5
from tests.real import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement).group().lower().replace("_", "-").replace(".", "-")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {name_of(line): line.split("==")[1] for line in lines}


def test_every_dependency_is_pinned_in_constraints():
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    assert {name_of(r) for r in wanted} <= set(pins())
    assert pins()["torch"] == "2.13.0"
    assert not any("+" in version for version in pins().values()), "a local version cannot be installed elsewhere"


def test_the_conda_environment_is_in_step():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, packages = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    lines = packages["pip"]
    assert lines[0] == "--constraint constraints.txt"
    assert lines[-1] == "--editable .[dev,offline]"
    assert "'.[dev,offline]'" in (ROOT / "Makefile").read_text()
    assert {name_of(line) for line in lines[1:-1]} <= {name_of(r) for r in PROJECT["dependencies"]}


def test_the_packages_that_users_asked_for_are_required():
    asked = {"jupyterlab", "ipywidgets", "torch", "transformers", "datasets", "fasttext-numpy2", "altair", "papermill"}
    assert asked <= {name_of(r) for r in PROJECT["dependencies"]}


def test_messages_name_what_the_extras_ask_for():
    minilm, multilingual = (one.partition(";")[0] for one in PROJECT["optional-dependencies"]["offline"])
    assert f"pip install {minilm}" in (ROOT / "cslab" / "ranking" / "cross_encoder.py").read_text(encoding="utf-8")
    assert f"pip install {multilingual}" == me5.INSTALL
    places = [ROOT / "README.md", *(ROOT / "cslab").rglob("*.py"), *(ROOT / "cslab" / "data").rglob("*.yaml")]
    named = [str(path) for path in places if "cslab[" in path.read_text(encoding="utf-8")]
    assert named == [], "no index has cslab: such an install fails"
