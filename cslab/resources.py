"""Where the package's own files lie, and where those of a user go.

Profiles, the atlas, the claims and templates lie in the package (`cslab/data`) and come with the wheel, as the ordered
notebooks and the real text of the demo do. In a clone these two are the folders `notebooks` and `data/wiki`.

What is made lies under `home()`: the clone that this runs from, else the present folder. So outputs go to `outputs` of
the clone, or to `./outputs` where cslab came from a wheel; `$CSLAB_OUTPUTS` names another folder. Downloads go to
`data/cache` of the clone, else to `~/.cache/cslab`, which all folders share; `$CSLAB_CACHE` names another.

    >>> packaged("profiles", "demo.yaml").is_file()
    True
"""

from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("cslab")))


def packaged(*parts: str) -> Path:
    """A file or folder of the package's data, such as `packaged("atlas", "words.tsv")`."""
    return PACKAGE.joinpath("data", *parts)


def real_text() -> Path:
    """The folder of the real text that comes along (`data/wiki` of the clone, else the wheel's copy)."""
    root = clone()
    return root / "data" / "wiki" if root else PACKAGE / "wiki"


def notebooks_folder() -> Path:
    """Where the ordered notebooks are: `notebooks` of the clone, else the copy that came with the wheel."""
    root = clone()
    return root / "notebooks" if root else PACKAGE / "notebooks"


def clone() -> Path | None:
    """The clone of the repository that this runs from, if it does."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def home() -> Path:
    """The folder that relative paths start at: the clone, else the present folder."""
    return clone() or Path.cwd()
