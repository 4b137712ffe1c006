"""Importing bm25s without JAX.

Where JAX is installed bm25s tries it out when it is imported, for a choice of the best that is not used here. On a GPU
JAX then takes three quarters of the memory, and what trains beside it runs out of it.
"""

import sys
from importlib import import_module
from types import ModuleType

_ABSENT = object()


def imported(name: str) -> ModuleType:
    """A module of bm25s, JAX hidden from it."""
    held = sys.modules.get("jax", _ABSENT)
    sys.modules["jax"] = None  # `import jax` fails
    try:
        return import_module(name)
    finally:
        if held is _ABSENT:
            del sys.modules["jax"]
        else:
            sys.modules["jax"] = held
