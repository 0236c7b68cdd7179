"""Encoded images and their sessions in memory: bounded in bytes, forgotten when nobody asks for them."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from seem.encoded_image import EncodedImage
from seem.results import Results
from seem.server.problems import Problem
from seem.session import Session

ID_BYTES = 18
MAX_REMEMBERED_IDS = 10_000  # of what was forgotten, to answer "gone" instead of "not found"
BYTES_OF_PIXEL = 4  # Pillow stores RGB in four bytes
BYTES_OF_RESULT = 2048  # of its columns, beside masks and logits


def new_id() -> str:
    """Return an id that nobody can guess: who knows it may use what it names."""
    return secrets.token_urlsafe(ID_BYTES)


class Sized(Protocol):
    """Something in a store."""

    @property
    def num_bytes(self) -> int:
        """What it holds."""

    def close(self) -> None:
        """Free what it holds; it has left the store."""


Item = TypeVar("Item", bound=Sized)


@dataclass(slots=True)
class _Slot(Generic[Item]):
    item: Item
    last_used: float


class RecentStore(Generic[Item]):
    """Items by id: bounded by the sum of their bytes and by number, and each by the time since its last use.

    `noun` is what messages call an item. Safe to use from several threads.
    """

    def __init__(
        self,
        noun: str,
        *,
        max_bytes: int,
        idle_seconds: float,
        max_items: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.noun = noun
        self.max_bytes = max_bytes
        self.idle_seconds = idle_seconds
        self.max_items = max_items
        self.num_evicted = 0
        self._clock = clock
        self._slots: OrderedDict[str, _Slot[Item]] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def num_bytes(self) -> int:
        """What all items hold."""
        with self._lock:
            return sum(slot.item.num_bytes for slot in self._slots.values())

    def put(self, item: Item) -> str:
        """Store an item and return its id; the least recently used leave until all fit."""
        if item.num_bytes > self.max_bytes:
            raise Problem(
                "too-large",
                f"This {self.noun} alone would fill the server's memory; send a smaller one.",
            )
        with self._lock:
            item_id = new_id()
            self._slots[item_id] = _Slot(item, self._clock())
            self.shrink()
        return item_id

    def get(self, item_id: str) -> Item:
        """Return an item and note its use; `Problem` for an id that names nothing, or no longer does."""
        with self._lock:
            self.forget_idle()
            slot = self._slots.get(item_id)
            if slot is None:
                raise self._missing(item_id)
            slot.last_used = self._clock()
            self._slots.move_to_end(item_id)
            return slot.item

    def find(self, item_id: str) -> Item | None:
        """Return an item and note its use; None for an id that names nothing, or no longer does."""
        try:
            return self.get(item_id)
        except Problem:
            return None

    def remove(self, item_id: str) -> None:
        """Forget an item; `Problem` as in `get`."""
        with self._lock:
            if item_id not in self._slots:
                raise self._missing(item_id)
            self._drop(item_id)

    def shrink(self) -> None:
        """Forget the least recently used items until the others fit; the newest stays."""
        with self._lock:
            self.forget_idle()
            while len(self._slots) > 1 and self._is_overfull():
                self._drop(next(iter(self._slots)))
                self.num_evicted += 1

    def forget_idle(self) -> None:
        """Forget what was not used for too long."""
        with self._lock:
            oldest = self._clock() - self.idle_seconds
            while self._slots:
                item_id, slot = next(iter(self._slots.items()))
                if slot.last_used >= oldest:
                    return
                self._drop(item_id)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for item_id in list(self._slots):
                self._drop(item_id)

    def values(self) -> list[Item]:
        """Return all items, without noting a use."""
        with self._lock:
            return [slot.item for slot in self._slots.values()]

    def _is_overfull(self) -> bool:
        if self.max_items is not None and len(self._slots) > self.max_items:
            return True
        return self.num_bytes > self.max_bytes

    def _drop(self, item_id: str) -> None:
        slot = self._slots.pop(item_id)
        self._gone[item_id] = None
        if len(self._gone) > MAX_REMEMBERED_IDS:
            self._gone.popitem(last=False)
        slot.item.close()

    def _missing(self, item_id: str) -> Problem:
        if item_id in self._gone:
            return Problem("gone", f"This {self.noun} is no longer here; {self._way_out}.")
        return Problem("not-found", f"There is no {self.noun} with this id; {self._way_out}.")

    @property
    def _way_out(self) -> str:
        return "begin a new one" if self.noun in ("session", "job") else "upload it again"


@dataclass(slots=True, eq=False)
class StoredSession:
    """Rounds of prompts about an image. `lock` is held while a round is answered."""

    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    results: list[Results] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        """What its rounds hold."""
        return sum(map(result_bytes, list(self.results)))

    def close(self) -> None:
        """Nothing is to be freed by hand."""


@dataclass(slots=True, eq=False)
class StoredImage:
    """An encoded image with its sessions."""

    image: EncodedImage
    sessions: RecentStore[StoredSession]
    _num_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        height, width = self.image.hw
        tensors = itertools.chain(tensors_in(self.image.encoding), tensors_in(self.image.batch))
        distinct = {tensor.data_ptr(): tensor.nbytes for tensor in tensors}
        self._num_bytes = height * width * BYTES_OF_PIXEL + sum(distinct.values())

    @property
    def num_bytes(self) -> int:
        """Pixels, encoding and sessions."""
        return self._num_bytes + self.sessions.num_bytes

    def close(self) -> None:
        """Forget the sessions."""
        self.sessions.clear()


def result_bytes(results: Results) -> int:
    """Return what a result holds beside its image."""
    logits = results.logits.nbytes if results.logits is not None else 0
    return BYTES_OF_RESULT + logits + sum(mask.bits.nbytes for mask in results.packed)


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield all tensors in dataclasses and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors_in(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from tensors_in(getattr(value, each.name))
