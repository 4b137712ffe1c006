"""Syntax trees of Python read once: what a statement means, and which names it mentions.

Left out is what changes no result: comments, docstrings, line numbers, annotations of arguments and variables (those of
a class's fields count: dataclasses and pydantic read them). Reads no files.

>>> texts = "def f(x): return g.h(x)", "def f(x: int) -> int: return g.h(x)  # why"
>>> plain, told = (Reading(ast.parse(text).body[0]) for text in texts)
>>> plain.meaning == told.meaning, sorted(told.chains)
(True, [('g', 'h'), ('x',)])
"""

import ast
from collections.abc import Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SKIPPED = ("ctx", "kind", "type_comment")


class Reading:
    """A statement: its meaning and what it mentions.

    Attributes:
        chains: dotted names, as tuples.
        arguments: name and annotation of arguments, of functions inside it too.
        imports: import statements inside it.
        texts: constants.
        taken: names whose attributes are asked for by `getattr`.
    """

    def __init__(self, node: ast.stmt) -> None:
        self.chains: set[tuple[str, ...]] = set()
        self.arguments: list[tuple[str, ast.expr]] = []
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.texts: set[str] = set()
        self.taken: set[str] = set()
        self._words: list[str] = []
        self._read(node)

    @property
    def meaning(self) -> str:
        """Equal for two statements that do the same in the same words, in any version of Python."""
        return " ".join(self._words)

    def _read(self, node: object) -> None:
        if isinstance(node, list):
            self._words.append("[")
            for one in node:
                if not is_text(one):
                    self._read(one)
            self._words.append("]")
        elif not isinstance(node, ast.AST):
            self._words.append(repr(node))
            if isinstance(node, str):
                self.texts.add(node)
        elif chain := chain_of(node):
            self._words.append(".".join(chain))
            self.chains.add(chain)
        else:
            self._read_tree(node)

    def _read_tree(self, node: ast.AST) -> None:
        skipped = SKIPPED
        self._words.append(type(node).__name__)
        if isinstance(node, ast.arg) and node.annotation is not None:
            self.arguments.append((node.arg, node.annotation))
            skipped += ("annotation",)
        elif isinstance(node, FUNCTIONS):
            skipped += ("returns",)
        elif isinstance(node, ast.AnnAssign):
            skipped += ("annotation",)
        elif isinstance(node, ast.ClassDef):
            self._words += [ast.unparse(one.annotation) for one in node.body if isinstance(one, ast.AnnAssign)]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imports.append(node)
            self._words.append(ast.unparse(node))
            return
        elif isinstance(node, ast.Call) and chain_of(node.func) == ("getattr",):
            self.taken |= set(chain_of(node.args[0])[:1])
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != [] and name not in skipped:
                self._words.append(name)
                self._read(value)


def is_text(node: object) -> bool:
    """Whether a statement is a text alone, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines, if that is all it does."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [one.id for one in names] if all(isinstance(one, ast.Name) for one in names) else []


def bound(node: ast.AST) -> Iterator[str]:
    """The names that a node itself binds, other than by an import."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id


def is_star(node: ast.AST) -> bool:
    """Whether it is `from module import *`."""
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*"


def chain_of(node: ast.AST) -> tuple[str, ...]:
    """The names of `a.b.c`; none for attributes of anything but a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()
