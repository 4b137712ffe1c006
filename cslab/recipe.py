"""Recipes: stages whose key is known before they are made, so that what is done or stale can be told at a glance.

Where a launcher has started several processes, all of them make the same stages in the same order: of a stage that is
`shared` each process does a part, any other is built by the first process while the rest wait.

    recipe = Recipe(folder, config, build, inputs=(other,))
    recipe.make().path          # builds the stage, or finds it done
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import pandas as pd

from cslab.code_keys import code_key, root_of
from cslab.processes import apart, processes, wait
from cslab.store import Stage, partial_folder, run_stage, sha256_file, stage_key, stage_state


@dataclass(frozen=True)
class Recipe:
    """How a stage is made: its folder, what it depends on, and the function that fills the folder.

    The function of a `shared` stage is called in every process, with the same folder; the first one's summary counts.
    The stage depends on the code of the function that `build` stands in and on what that leads to (`cslab.code_keys`),
    or, where this is too much, on the `roots` that are named.
    """

    path: Path
    config: Any
    build: Callable[[Path], dict[str, Any]]
    inputs: tuple["Recipe", ...] = ()
    roots: tuple[str, ...] = ()
    shared: bool = False

    @cached_property
    def input_keys(self) -> dict[str, str]:
        return {f"{r.path.parent.name}/{r.path.name}": r.key for r in self.inputs}

    @cached_property
    def key(self) -> str:
        """The key of the stage, known before it is made."""
        return stage_key(self.config, self.input_keys, code_key(*self._roots))

    @property
    def _roots(self) -> tuple[str, ...]:
        return self.roots or root_of(self.build)

    def make(self) -> Stage:
        """Makes the stage unless it is there."""
        rank, count = processes()
        if self.state() != "done":
            # What a build asks for is then there already: its time is its own, and of several processes only those
            # that build a shared stage meet.
            for recipe in self.inputs:
                recipe.make()
        if count > 1:
            wait()
        if count == 1 or self.state() == "done":
            return self._made(self.build)
        if rank:
            self._help()
        else:
            self._made(self._lead)
        wait()
        return self._made(self.build)

    def _made(self, build: Callable[[Path], dict[str, Any]]) -> Stage:
        stage = run_stage(self.path, self.config, build, self.input_keys, self._roots)
        if not stage.reused:
            print(f"  made {self.path.parent.name}/{self.path.name} in {stage.seconds:.0f} s", flush=True)
        return stage

    def _lead(self, folder: Path) -> dict[str, Any]:
        """The first process's part: the folder has been prepared."""
        wait()
        if self.shared:
            made = self.build(folder)
            wait()
            return made
        with apart():
            return self.build(folder)

    def _help(self) -> None:
        """Any other process's part."""
        wait()
        if self.shared:
            self.build(partial_folder(self.path))
            wait()

    def state(self) -> str:
        """`done`, `stale`, `partial` or `to do`."""
        return stage_state(self.path, self.key)


def once(make: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Keeps what a method gives for its arguments in `_recipes` of its object: keys are asked for many times over."""

    @wraps(make)
    def kept(self: Any, *asked: Any) -> Recipe:
        key = (make.__name__, *asked)
        if key not in self._recipes:
            self._recipes[key] = make(self, *asked)
        return self._recipes[key]

    return kept


def states(recipes: Sequence[Recipe], home: Path) -> pd.DataFrame:
    """Stage, name, state and, where it is done, the seconds it took; stages are named from the folder `home` on."""
    rows = []
    for recipe in recipes:
        state = recipe.state()
        seconds = recipe.make().seconds if state == "done" else None
        rows.append((recipe.path.parent.relative_to(home).as_posix(), recipe.path.name, state, seconds))
    return pd.DataFrame(rows, columns=["stage", "name", "state", "seconds"])


def file_hashes(files: Sequence[Path]) -> dict[str, str]:
    """Name → hash of the files a stage reads, for its settings."""
    return {file.name if file.is_absolute() else str(file): sha256_file(file)[:16] for file in files}
