"""The store as it is seen while many shapes are prepared: small values are written together, what was met last is at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self
from weakref import WeakValueDictionary

from .store import PREPARING, store
from .stored import Facts, Kept
from .values import size_of

RECENT, HELD = 64, 2**30  # values kept in memory, and their bytes: 64 of large shapes may be more than there is
SMALL = 2**20  # bytes up to which a value is packed
FULL = 4 * 2**20  # bytes of a pack
DEAR = 5.0  # seconds of computing in a pack, the most that is lost if the process is killed


class Packing:
    """A context, at whose end all is written. Shapes that have one graph get one matrix, the same object.

    Attributes:
        alive: what was met and is held elsewhere, however large. told: keys of the values whose seconds have been counted.
    """

    def __init__(self) -> None:
        self.store = store()
        self.recent: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self.held = 0
        self.alive: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self.told: set[str] = set()
        self.waiting: dict[str, _Pack] = {}

    def get(self, key: str, node: str) -> Any:
        if key in self.recent:
            self.recent.move_to_end(key)
            return self.recent[key][0]
        for pack in self.waiting.values():
            if key in pack.values:
                return pack.values[key].value
        if (value := self.alive.get(key)) is not None:
            return value
        value = self.store.get(key, node, PREPARING)
        if value is not None:
            self._met(key, value, size_of(value))
        return value

    def put(self, key: str, value: Any, facts: Facts) -> None:
        self.told.add(key)
        size = size_of(value)
        self._met(key, value, size)
        if size > SMALL:
            self.store.put(key, value, facts)
            return
        pack = self.waiting.setdefault(facts.label, _Pack())
        pack.values[key] = Kept(key, value, facts)
        pack.size += size
        pack.seconds += facts.seconds
        if pack.size > FULL or pack.seconds > DEAR:
            self._pack(facts.label)

    def family(self, family: str, node: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return self.store.family(family, node)

    def seconds(self, key: str, node: str) -> float | None:
        """What computing a stored value took, for the first who asks; then 0, so that it is counted once."""
        if key in self.told:
            return 0.0
        seconds = self.store.seconds(key, node)
        if seconds is not None:
            self.told.add(key)
        return seconds

    def write(self) -> None:
        """Put what waits in the store."""
        for label in list(self.waiting):
            self._pack(label)
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def _pack(self, label: str) -> None:
        first, *more = values = list(self.waiting.pop(label).values.values())
        if more:
            self.store.pack(values)
        else:  # found by its address: packs, of which a service would make one a request, are looked through
            self.store.put(*first)

    def _met(self, key: str, value: Any, size: int) -> None:
        self.held += size - self.recent.pop(key, (None, 0))[1]
        self.recent[key] = value, size
        with suppress(TypeError):  # a tuple or a dict
            self.alive[key] = value
        while len(self.recent) > RECENT or self.held > HELD:
            self.held -= self.recent.popitem(last=False)[1][1]


class _Pack:
    def __init__(self) -> None:
        self.values: dict[str, Kept] = {}
        self.size = 0
        self.seconds = 0.0
