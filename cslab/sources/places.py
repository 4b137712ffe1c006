"""Where the files that a profile names lie.

Relative paths are looked up as given, then in the project, beside the real text that comes along (`wiki/squad`), under
`$CSLAB_DATA`, in the folder `data` beside `$CSLAB_MIRROR`, and in `data/local`.

    locate("dict/muse", "lexicon.folder")
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cslab.resources import home, real_text
from cslab.store import CslabError


def data_roots() -> list[Path]:
    """The folders under which relative paths of a profile are looked up, in order."""
    roots = [Path.cwd(), home(), real_text().parent]
    if os.environ.get("CSLAB_DATA"):
        roots.append(Path(os.environ["CSLAB_DATA"]))
    if os.environ.get("CSLAB_MIRROR"):
        roots.append(Path(os.environ["CSLAB_MIRROR"]).parent / "data")
    return [*roots, home() / "data" / "local"]


def locate(name: str, key: str) -> Path:
    """The existing file or folder a profile names.

    Args:
        name: the path, relative or not.
        key: the setting that holds it, for the error.

    Raises:
        CslabError: if none of the data folders has it.
    """
    if not name:
        raise CslabError(f"{key} is empty; give a path with --set {key}=PATH")
    for root in data_roots():
        if (root / Path(name).expanduser()).exists():
            return root / Path(name).expanduser()
    tried = ", ".join(dict.fromkeys(str(root) for root in data_roots()))
    raise CslabError(f"{key}: '{name}' is not in {tried}; give its path with --set {key}=PATH, or set CSLAB_DATA")


def beir_files(folder: Path) -> Iterator[Path]:
    """The files of a BEIR folder that hold texts, judgements and runs."""
    kept = (".tsv", ".tsv.gz", ".trec", ".trec.gz")
    return (f for f in sorted(folder.rglob("*")) if f.is_file() and (".jsonl" in f.name or f.name.endswith(kept)))
