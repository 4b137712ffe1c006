"""Keys of code: a hash of what the source of a function means, with everything of `cslab` that it leads to.

A stage is made again when the key of its code has changed. Comments, docstrings and the layout of lines are no part of
a key, and neither is code that the function does not reach. From a *root* (`makers.train_ranker`, a class, a method
`stages.Lab.texts`, a module, or `cslab` for all of it) the reader goes from name to name, through the syntax trees:

* A definition (a function, a class, an assignment of a module) needs the names that it mentions, in its own module or
  imported from another one of the package. Other statements of a module count for all of its definitions.
* `module.name` needs that name. A module that is used in any other way, a star import, and a text that is the name of a
  module need the whole module.
* An annotation says what an argument is, and no more: of `lab: "Lab"` the methods are needed that are called on `lab`.
  Imports under `TYPE_CHECKING` serve annotations only.
* A function that returns a `Recipe` is not followed: it describes another stage, whose key is among the inputs. Nor are
  annotated fields of an argument: they hold data, which stand in the stage's settings.

Types of other expressions are not worked out; what a method is called on was constructed somewhere, and whoever
constructs an object needs its whole class. Reads the package's `*.py`; writes nothing.

    code_key("makers.train_ranker")          # the same until a statement changes that trains rankers
"""

import ast
import functools
import gc
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cslab.syntax import FUNCTIONS, Reading, bound, defined, is_star, is_text

NAME = "cslab"
STAGE = "Recipe"  # what functions return that describe a stage
WHOLE, LOOSE = "*", ""  # a whole module, and its statements that define nothing

Place = tuple[str, str]  # a module below the package, and the name of a definition in it, WHOLE or LOOSE


@functools.cache
def code_key(*roots: str) -> str:
    """The key of the code that some roots need; none of them gives an empty key.

    Raises:
        ValueError: for a root that the package has not.
    """
    return _package().key(*roots) if roots else ""


def root_of(build: Callable) -> tuple[str, ...]:
    """The root of a function: the method, or function of a module, that it stands in; none outside the package.

    >>> def build(folder): ...
    >>> build.__module__, build.__qualname__ = "cslab.stages", "Lab._test.<locals>.build"
    >>> root_of(build)
    ('stages.Lab._test',)
    """
    package, _, module = build.__module__.partition(".")
    return (f"{module}.{build.__qualname__.partition('.<locals>')[0]}",) if package == NAME else ()


@functools.cache
def _package() -> "Package":
    return Package(Path(__file__).parent)


@dataclass
class _Module:
    """What a module defines, imports (name → module and name there) and states besides."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)  # what other packages' names are bound to
    for_types: dict[str, Place] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)


class Package:
    """The source of a package, each module parsed once, when it is first needed."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.rglob("*.py"))
        self._files = {_dotted(file.relative_to(folder)): file for file in files}
        self._packages = {_dotted(file.relative_to(folder)) for file in files if file.name == "__init__.py"}
        self._modules: dict[str, _Module] = {}
        self._read: dict[Place, tuple[str, set[Place]]] = {}

    def key(self, *roots: str) -> str:
        """See `code_key`."""
        collecting = gc.isenabled()
        gc.disable()  # looking for garbage among so many small objects would take longer than all the rest
        try:
            parts = [(place, self._needs(place)[0]) for place in sorted(self.closure(*roots))]
        finally:
            if collecting:
                gc.enable()
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def closure(self, *roots: str) -> set[Place]:
        """The definitions that some roots need, with their own."""
        left, found = [place for root in roots for place in self._places(root)], set()
        while left:
            place = left.pop()
            if place not in found:
                found.add(place)
                left += self._needs(place)[1]
        return found

    def _places(self, root: str) -> list[Place]:
        """Where a root is: in the module with the longest name that it begins with."""
        if root == NAME:
            return [(module, WHOLE) for module in self._files]
        parts = root.split(".")
        for cut in range(len(parts), 0, -1):
            module, name = ".".join(parts[:cut]), ".".join(parts[cut:])
            if module in self._files:
                inside = [one for one in self._files if f"{one}.".startswith(f"{module}.")] if not name else []
                place = self._find(module, name) if name else None
                # A whole module, or class, is what is given for a name that is not there.
                exact = place and place[1].rpartition(".")[2] == parts[-1]
                if inside or exact:
                    return [(one, WHOLE) for one in inside] or [place]
                break
        raise ValueError(f"code of '{root}': the package has no such module, function or method")

    def _module(self, name: str) -> _Module:
        """What a module holds."""
        if name not in self._modules:
            self._modules[name] = self._parsed(name)
        return self._modules[name]

    def _parsed(self, name: str) -> _Module:
        found = _Module()
        for node in ast.parse(self._files[name].read_bytes()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found.imports |= self._imported(node, name)
                where = getattr(node, "module", "")  # `import x` has none
                found.foreign |= {alias.asname or alias.name: f"{where} {alias.name}" for alias in node.names}
                found.loose += [node] if is_star(node) else []
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for one in node.body:
                    found.for_types |= self._imported(one, name)
            elif names := defined(node):
                for one in names:
                    found.definitions.setdefault(one, []).append(node)
            else:
                found.loose += [] if is_text(node) else [node]
                for one in ast.walk(node):
                    found.imports |= self._imported(one, name)
                    for name_bound in bound(one):
                        found.definitions.setdefault(name_bound, [])
        return found

    def _imported(self, node: ast.AST, module: str) -> dict[str, Place]:
        """The names that a statement in a module imports from the package."""
        if isinstance(node, ast.Import):
            names = [(alias.asname or NAME, alias.name if alias.asname else NAME) for alias in node.names
                     if alias.name.split(".")[0] == NAME]  # fmt: skip
            return {bound: (_below(full), WHOLE) for bound, full in names}
        source = self._source(node, module) if isinstance(node, ast.ImportFrom) else None
        if source not in self._files:
            return {}
        return {alias.asname or alias.name: (source, alias.name) for alias in node.names}

    def _source(self, node: ast.ImportFrom, module: str) -> str | None:
        """The module of the package that `from … import` reads; None for other packages."""
        if not node.level:
            return _below(node.module) if node.module.split(".")[0] == NAME else None
        parts = module.split(".") if module else []
        kept = parts[: len(parts) - node.level + (module in self._packages)]
        return ".".join([*kept, *filter(None, [node.module])])

    def _find(self, module: str, name: str) -> Place | None:
        """Where a name of a module is defined; a whole module where the name is one's, or where it cannot be told."""
        name, _, member = name.partition(".")
        if member:
            return self._member((module, name), member)
        if name.startswith("__"):
            return None  # where a module lies, and its version
        held = self._module(module)
        if name in held.definitions:
            return module, name
        if name in held.imports:
            place = held.imports[name]
            return place if place[1] == WHOLE else self._find(*place)
        if (below := f"{module}.{name}".lstrip(".")) in self._files:
            return below, WHOLE
        return module, WHOLE

    def _resolve(self, module: str, chain: tuple[str, ...], local: dict[str, Place]) -> Place | None:
        """What a dotted name means in a module; `local` are the imports of the function it stands in."""
        held, (name, *rest) = self._module(module), chain
        place = local.get(name) or held.imports.get(name)
        if place and place[1] != WHOLE:
            place = self._find(*place)
        place = place or ((module, name) if name in held.definitions else None)
        while place and place[1] == WHOLE and rest and place[0] in self._files:
            place = self._find(place[0], rest.pop(0))
        return place

    def _of_type(self, note: ast.expr | None, module: str, local: dict[str, Place]) -> Place | None:
        """The class of the package that an annotation names, also in quotes or as `Class | None`."""
        if isinstance(note, ast.Constant) and isinstance(note.value, str):
            note = ast.parse(note.value, mode="eval").body
        if isinstance(note, ast.BinOp):
            return self._of_type(note.left, module, local) or self._of_type(note.right, module, local)
        if not isinstance(note, ast.Name):
            return None
        typed = self._module(module).for_types.get(note.id)
        place = self._find(*typed) if typed else self._resolve(module, (note.id,), local)
        return place if place and self._class_at(place) else None

    def _class_at(self, place: Place) -> ast.ClassDef | None:
        """The class that is defined at a place, if one is."""
        nodes = self._module(place[0]).definitions.get(place[1], []) if place[1] not in (WHOLE, LOOSE) else []
        return next((node for node in nodes if isinstance(node, ast.ClassDef)), None)

    def _member(self, owner: Place, name: str) -> Place | None:
        """Where a class has a member, itself or by inheritance; the whole class where it is set as it goes."""
        made = self._class_at(owner)
        if made is None:
            return None
        if any(name in defined(node) for node in made.body):
            return owner[0], f"{owner[1]}.{name}"
        bases = [self._of_type(base, owner[0], {}) for base in made.bases]
        found = [base and self._member(base, name) for base in bases]
        # What another package's class may have is of no concern; what none has, some method sets.
        return next(
            (place for place in found if place and place[1].endswith(f".{name}")), owner if all(found) else None
        )

    def _type_at(self, place: Place) -> Place | None:
        """The class of a field, or of what a property gives."""
        for node in self._nodes(place):
            note = node.returns if isinstance(node, FUNCTIONS) else getattr(node, "annotation", None)
            if note is not None:
                return self._of_type(note, place[0], {})
        return None

    def _nodes(self, place: Place) -> list[ast.stmt]:
        """The statements that a place stands for."""
        held, (name, _, member) = self._module(place[0]), place[1].partition(".")
        if place[1] == LOOSE:
            return held.loose
        if place[1] == WHOLE:
            return []
        if member:
            return [node for node in self._class_at((place[0], name)).body if member in defined(node)]
        return held.definitions[name]

    def _follows(self, place: Place) -> bool:
        """Whether a place that is mentioned is needed: not if it describes a stage, or is a field of an argument."""
        if place[1].partition(".")[0] == STAGE:
            return False
        for node in self._nodes(place):
            if isinstance(node, FUNCTIONS) and node.returns is not None and STAGE in ast.unparse(node.returns):
                return False
            if isinstance(node, ast.AnnAssign) and "." in place[1]:
                return False
        return True

    def _needs(self, place: Place) -> tuple[str, set[Place]]:
        """What a place means, hashed, and the places that it needs."""
        if place not in self._read:
            module, name = place
            held = self._module(module)
            read = [Reading(node) for node in self._nodes(place)]
            owner = (module, name.partition(".")[0]) if "." in name else None
            found = {
                one for each in read for one in self._mentioned(each, module, owner) if one and one[0] in self._files
            }
            found = {(module, LOOSE), *filter(self._follows, found)}
            if name == WHOLE:
                found |= {(module, one) for one in held.definitions}
                found |= {there for one in held.imports if (there := self._resolve(module, (one,), {}))}
            foreign = sorted({held.foreign.get(chain[0], "") for each in read for chain in each.chains})
            text = "\n".join([*foreign, *(each.meaning for each in read)])
            self._read[place] = hashlib.sha256(text.encode()).hexdigest(), found
        return self._read[place]

    def _mentioned(self, read: Reading, module: str, owner: Place | None) -> Iterator[Place | None]:
        """The places that a statement mentions; `owner` is the class of which it is a member."""
        local: dict[str, Place] = {}
        for node in read.imports:
            local |= self._imported(node, module)
            if is_star(node):
                yield self._source(node, module), WHOLE
        for text in read.texts:
            if text.startswith(f"{NAME}."):
                yield _below(text), WHOLE
        typed: dict[str, set[Place]] = {"self": {owner}, "cls": {owner}} if owner else {}
        for name, note in read.arguments:
            if place := self._of_type(note, module, local):
                typed.setdefault(name, set()).add(place)
        for chain in read.chains:
            first, *rest = chain
            for place in typed.get(first, ()):
                yield from self._members(place, rest)
                yield place if first in read.taken or chain == ("cls",) else None
            yield owner if chain == ("super",) else None
            yield self._resolve(module, chain, local) if first not in typed else None

    def _members(self, place: Place | None, names: list[str]) -> Iterator[Place | None]:
        """The members that one goes through from an object of a class."""
        for name in names:
            place = place and self._member(place, name)
            yield place
            place = place and self._type_at(place)


def _below(module: str) -> str:
    return module.removeprefix(NAME).removeprefix(".")


def _dotted(path: Path) -> str:
    return ".".join([*path.parts[:-1], *([] if path.stem == "__init__" else [path.stem])])
