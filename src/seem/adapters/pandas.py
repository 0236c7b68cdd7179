"""`pandas.DataFrame`, the table that notebooks read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seem.errors import SeemError


def to_frame(columns: Mapping[str, Any]) -> Any:
    """Return columns of one length, by their names, as a `pandas.DataFrame`.

    Raises `SeemError` where pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise SeemError(f'pandas is not installed ({error}); pip install "seem[pandas]".') from None
    return pandas.DataFrame(dict(columns))
