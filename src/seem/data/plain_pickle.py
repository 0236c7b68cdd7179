"""Pickle files of plain containers, read without running what a file asks for."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from seem.data.records import DataError


class _PlainUnpickler(pickle.Unpickler):
    """Builds lists, tuples, dictionaries, texts and numbers; a file that names anything to import is refused."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> NoReturn:  # noqa: ARG002
        raise pickle.UnpicklingError("it refers to objects outside of it")


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds plain containers and nothing else, also one that Python 2 wrote.

    Raises:
        DataError: the file is missing, damaged, or wants to import or call something.
    """
    try:
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        reason = f"{path} is not read: {error}. It may hold plain lists, dictionaries, texts and numbers alone"
        raise DataError(f"{reason}; fetch it again from its authors.") from error
    except Exception as error:  # a damaged pickle fails in many ways
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read as a pickle ({reason}); copy it again.") from error
