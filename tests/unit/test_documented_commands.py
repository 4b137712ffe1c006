"""Commands, settings and code that the documentation shows are read by the real command line and the real profile."""

import re
import shlex
from collections.abc import Iterator

import pydantic
import pytest
import typer
import yaml

from cslab.__main__ import app
from cslab.config import Profile, load_profile, make_profile, override
from cslab.resources import packaged
from tests.real import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
PLACES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "Makefile", "data/README.md")),
    *DOCS,
    *sorted(file for kind in ("md", "yaml", "ipynb") for file in packaged().rglob(f"*.{kind}")),
    *sorted((ROOT / "notebooks").rglob("*.ipynb")),
    *sorted((ROOT / "cslab").rglob("*.py")),
]
# A line that goes on is one with the next.
TEXTS = {
    path.relative_to(ROOT).as_posix(): re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8")) for path in PLACES
}
ROOT_COMMAND = typer.main.get_command(app)
NAMES = "|".join(ROOT_COMMAND.commands)
# A line of its own, perhaps behind a launcher or a mark of comments; or words between backticks in a sentence.
LINE = re.compile(rf"^\s*(?:# ?|\w+ .*-m |\$\(BIN\)/)?cslab ((?:{NAMES})\b[^`…{{\n]*)$", re.MULTILINE)
MENTION = re.compile(rf"(?:`|&& )cslab ((?:{NAMES})\b[^`…{{\n]*)`")


def leaf(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    """The command that words begin with, and the words behind it."""
    command, rest = ROOT_COMMAND, list(words)
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def found(pattern: re.Pattern) -> Iterator[tuple[str, list[str]]]:
    for place, text in TEXTS.items():
        for match in pattern.finditer(text):
            yield place, shlex.split(match.group(1), comments=True)


def test_command_lines_are_complete_and_right():
    lines = list(found(LINE))
    assert len(lines) > 15, lines
    for place, words in lines:
        command, rest = leaf(words)
        assert not hasattr(command, "commands"), (place, words)
        # Parses, and refuses what is missing, unknown or of another type; it runs nothing.
        context = command.make_context(" ".join(words[: len(words) - len(rest)]), list(rest))
        profile, settings = context.params.get("profile", ""), context.params.get("set_") or []
        if packaged("profiles", f"{profile}.yaml").is_file():
            load_profile(profile, settings)
        else:
            assert profile in ("", "$(PROFILE)") or profile.endswith(".yaml"), (place, words)


def test_commands_and_options_that_are_mentioned_exist():
    mentions = list(found(MENTION))
    assert len(mentions) > 10
    for place, words in mentions:
        command, rest = leaf(words)
        assert not hasattr(command, "commands") or not rest, (place, words)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= known, (place, words)


def test_settings_that_are_named_exist():
    named = {(place, key) for place, text in TEXTS.items() for key in re.findall(r"--set ['\"]?([a-z_.]+)=", text)}
    assert len(named) > 12
    for place, key in sorted(named):
        assert "extra_forbidden" not in mistakes(override({"name": "x"}, [f"{key}=1"])), (place, key)


def mistakes(values: dict) -> list[str]:
    """The kinds of what is wrong with a profile: a value of another type does not matter here."""
    try:
        Profile.model_validate(values)
    except pydantic.ValidationError as error:
        return [row["type"] for row in error.errors()]
    return []


def test_the_profile_of_own_data_is_a_profile():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"^ +name: mine\n(?: +\S.*\n)+", text, re.MULTILINE).group()
    values = yaml.safe_load("\n".join(line.strip() for line in block.splitlines()))
    assert make_profile(values).training.steps == 2000


def test_the_example_in_python_prints_what_the_readme_says(capsys):
    block = re.search(r"## In Python\n\n((?:    .*\n|\n)+)", README).group(1)
    code = re.sub(r"^    ", "", block, flags=re.MULTILINE)
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == [line.split("# ")[1] for line in code.splitlines() if "# " in line]


def test_the_readme_is_short():
    assert len(README.split()) <= 900


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS], ids=lambda path: path.name)
def test_files_that_are_linked_are_there(path):
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert [name for name in linked if not (path.parent / name).exists()] == []
