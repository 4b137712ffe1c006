"""One notebook: what it is, and running it in a kernel of its own.

Writes the executed notebook and `NN.run.json` (what it was made from, how long it took, why it failed). The kernel is
that of this very interpreter; what a cell prints goes to a stream as it comes.

    run_one(notebook, profile, Path("outputs/demo"), sys.stdout)          # 0, or 1 if a cell failed
"""

import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from cslab.code_keys import code_key
from cslab.config import Profile
from cslab.store import CslabError, fingerprint, nearest, read_json, write_json
from cslab.workbench.imports import quick_schemas
from cslab.workbench.parameters import TAG
from cslab.workbench.progress import Progress, clock

# Threads that spin while they wait make two processes on one machine several times slower.
KERNEL_ENV = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
HEADLESS = "CSLAB_HEADLESS"  # set in kernels that no one sits in front of
OUTPUTS = "CSLAB_OUTPUTS"  # where the labs that notebooks open put their folders


@dataclass(frozen=True)
class Notebook:
    """A notebook to run: its number, its file, its content, and the values for its parameters."""

    path: Path
    content: Mapping[str, Any]
    parameters: Mapping[str, Any]

    @property
    def number(self) -> str:
        """The two digits in front of its name."""
        return self.path.name[:2]

    @property
    def title(self) -> str:
        """Its first heading, without the number."""
        lines = (line for cell in self.content["cells"] if cell["cell_type"] == "markdown" for line in _lines(cell))
        heading = next((line.lstrip("# ") for line in lines if line.startswith("#")), self.path.stem)
        return re.sub(rf"^{self.number}\W+", "", heading)

    def headings(self) -> dict[int, str]:
        """Index of each code cell that is not empty → the last heading above it."""
        found, heading = {}, ""
        for index, cell in enumerate(self.content["cells"]):
            if cell["cell_type"] == "markdown":
                heading = next((ln.lstrip("# ") for ln in reversed(_lines(cell)) if ln.startswith("#")), heading)
            elif cell["cell_type"] == "code" and "".join(cell["source"]).strip():
                found[index] = "parameters" if TAG in cell["metadata"].get("tags", ()) else heading
        return found

    @property
    def after(self) -> tuple[str, ...] | None:
        """Numbers of the notebooks whose outputs it reads, as its metadata `cslab.after` says; None: any before it."""
        told = self.content["metadata"].get("cslab", {}).get("after")
        if told is None:
            return None
        if not isinstance(told, list) or not all(isinstance(n, str) and re.fullmatch(r"\d\d", n) for n in told):
            raise CslabError(f'{self.path}: metadata cslab.after is {told!r}; expected numbers such as ["04"]')
        return tuple(told)

    def lacks(self, profile: Profile) -> str | None:
        """The setting that adds the section it shows (metadata `cslab.needs`), if a profile lacks it; else None."""
        setting = self.content["metadata"].get("cslab", {}).get("needs", "")
        section = setting.partition("=")[0].partition(".")[0]
        if section and section not in Profile.model_fields:
            known = nearest(section, list(Profile.model_fields))
            raise CslabError(f"{self.path}: metadata cslab.needs names '{section}', no section of profiles; {known}")
        return setting if section and getattr(profile, section) is None else None

    def key(self, profile: Profile) -> str:
        """What its result depends on besides the stages in the profile's folder."""
        source = [(cell["cell_type"], "".join(cell["source"])) for cell in self.content["cells"]]
        parts = {"source": source, "parameters": dict(self.parameters), "profile": profile.model_dump(mode="json")}
        return fingerprint(parts | {"code": code_key("cslab")})


class Failure(NamedTuple):
    """Why a cell failed, and in which of its lines."""

    text: str
    line: int = 1


def _lines(cell: Mapping[str, Any]) -> list[str]:
    return "".join(cell["source"]).splitlines()


def stages(home: Path) -> dict[str, str]:
    """Key of each finished stage in a profile's folder."""
    manifests = sorted(home.glob("*/*/manifest.json"))
    return {path.parent.relative_to(home).as_posix(): read_json(path)["key"] for path in manifests}


# --- running it ---------------------------------------------------------------------------------------------


def run_one(notebook: Notebook, profile: Profile, home: Path, stream: TextIO, threads: int | None = None) -> int:
    """Executes one notebook, leaves a record of it, and says what went wrong if something did.

    Args:
        notebook: with the values of its parameters.
        profile: of the run.
        home: the profile's folder of outputs.
        stream: where progress goes.
        threads: most threads of its kernel, where others run beside it; its lines then begin with its number.

    Returns:
        0, or 1 if a cell failed.
    """
    executed = home / "notebooks"
    key = notebook.key(profile)  # of the code as it is now: it may be edited while the notebook runs
    record, summary = (executed / f"{notebook.number}.{kind}.json" for kind in ("run", "summary"))
    for stale in (record, summary):
        stale.unlink(missing_ok=True)
    print(f"{notebook.path.stem}: {notebook.title}", file=stream, flush=True)
    mark = f"{notebook.number} " if threads else ""
    with Progress(stream, notebook.headings(), mark=mark) as progress:
        error = _execute(notebook, executed / notebook.path.name, home.parent, progress, threads)
    facts = {"notebook": notebook.path.name, "title": notebook.title, "status": "failed" if error else "done"}
    facts |= {"seconds": round(progress.seconds, 1), "finished": time.strftime("%Y-%m-%d %H:%M:%S")}
    facts |= {"error": error.text if error else None}
    write_json(record, facts | {"key": key, "stages": stages(home)})
    if error:
        print(_explained(notebook, progress, error, executed / notebook.path.name, profile), file=stream, flush=True)
        return 1
    print(f"{notebook.path.stem}: done in {clock(progress.seconds)}", file=stream, flush=True)
    return 0


def _kernel_manager(outputs: Path, threads: int | None) -> type:
    """A kernel manager that always starts this very interpreter, whatever kernels are installed on the machine."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    env = {name: os.environ.get(name, value) for name, value in KERNEL_ENV.items()}
    env |= {HEADLESS: "1", OUTPUTS: str(outputs.resolve()), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(**get_kernel_dict() | {"argv": argv, "env": env})
    # Newer kernels warn on standard error about each connection that is not encrypted.
    known = AsyncKernelManager.class_trait_names()
    options = {"transport_encryption": "auto"} if "transport_encryption" in known else {}

    class ThisInterpreter(AsyncKernelManager):
        kernel_spec = spec

        def __init__(self, **given: Any) -> None:
            super().__init__(**options | given)

    return ThisInterpreter


def _execute(
    notebook: Notebook, made: Path, outputs: Path, progress: Progress, threads: int | None = None
) -> Failure | None:
    """Runs it with papermill in the present folder, where relative paths mean what they mean to the user."""
    with quick_schemas():
        import papermill
        from nbclient.exceptions import DeadKernelError

    # It warns of parameters that it cannot read; they have been checked more strictly already.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            str(notebook.path),
            str(made),
            dict(notebook.parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=str(Path.cwd()),
            stdout_file=progress,
            kernel_manager_class=_kernel_manager(outputs, threads),
            coalesce_streams=True,
            on_cell_start=lambda cell, cell_index: progress.cell(_index(notebook, cell_index)),
        )
    except papermill.PapermillExecutionError as error:
        return Failure(f"{error.ename}: {error.evalue}", _failing_line("\n".join(error.traceback)))
    except DeadKernelError:
        return Failure("the kernel died; often the machine has run out of memory")
    except KeyboardInterrupt:
        return Failure("interrupted; finished stages are kept")
    return None


def _index(notebook: Notebook, index: int) -> int:
    """Index in the source of a cell of the running notebook: papermill puts one in that sets the parameters."""
    tags = [TAG in cell["metadata"].get("tags", ()) for cell in notebook.content["cells"]]
    return index if not notebook.parameters or index <= tags.index(True) else index - 1


def _failing_line(traceback: str) -> int:
    """Number of the line of the cell that failed, from IPython's arrow; 1 where there is none."""
    arrow = re.search(r"^-+> ?(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", traceback), re.MULTILINE)
    return int(arrow.group(1)) if arrow else 1


def _explained(notebook: Notebook, progress: Progress, error: Failure, made: Path, profile: Profile) -> str:
    """The failing cell and its error in ten lines, with the command that goes on there."""
    source = _lines(notebook.content["cells"][progress.at]) if progress.at is not None else []
    place = f"cell {list(progress.cells).index(progress.at) + 1}/{len(progress.cells)}" if source else "before cell 1"
    told = [f"{notebook.path.stem}: FAILED after {clock(progress.seconds)} in {place}"]
    begin = max(0, min(error.line - 3, len(source) - 5))
    for number, line in enumerate(source[begin : begin + 5], begin + 1):
        told.append(f"  {'>' if number == error.line else ' '} {number:>2}  {line}")
    told += [f"  {line[:300]}" for line in error.text.strip().splitlines()[:2]]
    name = notebook.parameters.get("PROFILE", profile.name)
    settings = "".join(f" --set {shlex.quote(text)}" for text in notebook.parameters.get("SETTINGS", ()))
    again = f"cslab notebooks --profile {shlex.quote(name)}{settings}"
    return "\n".join([*told, f"  look at {made}", f"  then, to go on from here: {again}"])
