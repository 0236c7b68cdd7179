"""PyTorch without what only its compiler needs: that is a quarter of the time it takes to import.

For the verbs of the command line, which `startup` prepares; recipes, which are modules of their own, and programs that
import the package get all of PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

COMPILING_VERBS = ("train", "finetune")  # whose optimizers may use the compiler

COMPILER_RULES = "torch._meta_registrations"
"""What PyTorch imports for its compiler alone; this module imports most of the rest."""

COMPILERS = ("torch._dynamo", "torch._inductor")
"""Modules that need the rules before they are imported themselves."""


class DeferredModule(ModuleType):
    """A module that is executed when something of it is first asked for."""

    def __getattr__(self, name: str) -> object:
        """Execute the module at the first name that it has to define itself."""
        if name.startswith("__"):
            raise AttributeError(name)
        execute(self)
        return getattr(self, name)


def execute(module: DeferredModule) -> None:
    """Execute a module that was deferred."""
    spec = module.__spec__
    assert spec is not None
    assert isinstance(spec.loader, DeferringLoader)
    module.__class__ = ModuleType  # type: ignore[assignment]  # a module like any other from now on
    spec.loader = module.__loader__ = spec.loader.loader
    spec.loader.exec_module(module)


class DeferringLoader(Loader):
    """Defers the execution of a module that another loader executes."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the other loader make the module."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty for now, if PyTorch's random generators can do without it."""
        set_generator_metaclass()
        if can_make_generators():
            module.__class__ = DeferredModule
        else:
            self.loader.exec_module(module)


def set_generator_metaclass() -> None:
    """Do the one thing that generators need of the rules: since PyTorch 2.13 these set the metaclass of their class."""
    from torch import _C

    set_metaclass = getattr(_C, "_set_generator_metaclass", None)
    if set_metaclass is not None:
        from torch._opaque_base import OpaqueBaseMeta

        set_metaclass(OpaqueBaseMeta)


def can_make_generators() -> bool:
    """Tell whether `torch.Generator` can be called yet."""
    from torch import _C

    try:
        _C.Generator()
    except RuntimeError:
        return False
    return True


class DeferringFinder(MetaPathFinder):
    """Defers the rules of PyTorch's compiler, until a compiler is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the rules are, with a loader that defers them; None for every other module."""
        if fullname != COMPILER_RULES:
            rules = sys.modules.get(COMPILER_RULES)
            if fullname in COMPILERS and isinstance(rules, DeferredModule):
                execute(rules)
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = DeferringLoader(spec.loader)
        return spec


def defer_compiler_rules() -> None:
    """Defer what only training may need."""
    if not any(verb in COMPILING_VERBS for verb in sys.argv[1:2]):
        sys.meta_path.insert(0, DeferringFinder())
