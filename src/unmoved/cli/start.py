"""A quicker start for commands that live for a second or two."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

REGISTRATIONS = "torch._meta_registrations"


class Later(ModuleType):
    """Stands for a module that is imported only once something asks for what is in it."""

    def __getattr__(self, name: str) -> Any:
        """Import the module, which takes this one's place, and return its attribute."""
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Have what is imported inside start in half the time.

    torch leaves out the shapes of its operators on its meta device: they serve tracing, compiling and exporting, of
    which a solver's process does nothing, and no number that is computed on a CPU or GPU passes through them. Imports
    make a million objects that stay: the garbage collector need not look at them again and again.
    """
    if "torch" not in sys.modules:
        sys.modules[REGISTRATIONS] = Later(REGISTRATIONS)
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
