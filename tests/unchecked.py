"""A package of ours as users have it: tests check types before a prompt can, users read the prompt's own words."""

import importlib
import sys


def import_unchecked(package):
    """Import a package of ours without the import hook that checks types; `sys.modules` keeps the checked one."""
    parent, leaf = package.rsplit(".", 1)
    checked = _take_out(package)
    finders = sys.meta_path[:]
    sys.meta_path[:] = [finder for finder in finders if "jaxtyping" not in type(finder).__module__]
    try:
        return importlib.import_module(package)
    finally:
        sys.meta_path[:] = finders
        _take_out(package)
        sys.modules.update(checked)
        setattr(sys.modules[parent], leaf, checked[package])


def _take_out(package):
    names = [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}
