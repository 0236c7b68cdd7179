"""Work shared by the machines of a Ray cluster: a sequence of items, answered by actors that hold a worker each."""

from __future__ import annotations

import io
import logging
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError, short_reason

ITEMS_OF_BLOCK = 16  # that are done again if a machine dies before they are all done
MAX_BLOCKS = 100_000  # of one run: Ray keeps a record of each

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}
"""Settings that keep Ray's own lines out of the output, unless the user has set them."""

Stream: TypeAlias = TextIO | io.TextIOBase
AnswerItem: TypeAlias = Callable[[Any], Any]


class Actor:
    """What Ray starts on the machines: makes its worker once, then answers blocks of pickled items."""

    def __init__(self, make_worker: Callable[[], AnswerItem]) -> None:
        self.answer = make_worker()

    def __call__(self, block: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Answer the items of a block."""
        answers = [pickle.dumps(self.answer(pickle.loads(item))) for item in block["item"]]
        return {"answer": np.array(answers, dtype=object)}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster: "local" starts one on this machine, "auto" finds the one that it belongs to.

    Raises `SeemError` where Ray is not installed, or there is no cluster at the address.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SeemError(f'Ray is not installed ({error}); pip install "seem[scale]".') from None
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SeemError(
            f"There is no Ray cluster at {address!r} ({short_reason(error)}); "
            "use 'local', or start one: ray start --head."
        ) from None
    try:
        with redirect_stdout(OutputOfOneThread(sys.stdout, sys.stderr)):
            yield ray
    finally:
        with redirect_stdout(sys.stderr):  # it prints what it has held back
            ray.shutdown()


class OutputOfOneThread(io.TextIOBase):
    """Standard output for the thread that made it; what others write, as Ray's do, goes to standard error."""

    def __init__(self, output: Stream, errors: Stream) -> None:
        self._output, self._errors = output, errors
        self._owner = threading.get_ident()

    def write(self, text: str) -> int:
        """Write a text to the stream of the calling thread."""
        return self._stream().write(text)

    def flush(self) -> None:
        """Flush the stream of the calling thread."""
        self._stream().flush()

    def fileno(self) -> int:
        """Return the number of standard output's file."""
        return self._output.fileno()

    def _stream(self) -> Stream:
        return self._output if threading.get_ident() == self._owner else self._errors


def answer_with_actors(
    ray: Any,
    items: Sequence[Any],
    make_worker: Callable[[], AnswerItem],
    num_actors: int,
    num_gpus: float = 0,
) -> Iterator[Any]:
    """Yield what workers answer to items, in the order in which blocks of them are done.

    What a machine had begun when it died is done again on another, so that each item has one answer here; a worker
    must bear being asked twice. Ray passes on no more items than actors can take. An exception of a worker ends the
    run: workers answer with errors that concern their item alone.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    num_blocks = min(-(-len(items) // ITEMS_OF_BLOCK), MAX_BLOCKS)
    rows = [{"item": pickle.dumps(item)} for item in items]
    answers = ray.data.from_items(rows, override_num_blocks=num_blocks).map_batches(
        Actor,
        fn_constructor_args=(make_worker,),
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=num_actors),
        num_cpus=1,
        num_gpus=num_gpus,
    )
    for row in answers.iter_rows():
        yield pickle.loads(row["answer"])


def num_cores(ray: Any) -> int:
    """Return the cores of all machines of the cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
