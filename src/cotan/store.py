"""The store: computed values on disk, found by what they were computed from.

A file holds a value, or many small ones of one node: a pack. It is written beside its place and renamed, so a reader sees
all of it or nothing; what does not match its checksum is said once and computed again. A value that cannot be written stays
in memory; all do where the disk is full or read-only, or where one after another fails.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import atomic
from .errors import CotanError
from .processes import cache_folder
from .stored import Facts, File, Kept, Packs, decode, describe, encode, options_of

FORMAT = 3
MEMORY = 256 * 2**20  # bytes kept in memory where the folder fails
LASTING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # a read-only or full disk; other errors may pass
ATTEMPTS = 3  # failures in a row after which nothing more is written
OPEN = 16  # packs kept in memory after a look into them
PREPARING = 256  # and while shapes are prepared, whose order may be another than that of the packs


class Store:
    """Values by address in a folder, with a size cap: the least recently used go first.

    >>> Store("/tmp/cache", limit=10 * 2**30)
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int, version: int = FORMAT):
        self.folder = Path(folder) / f"v{version}"
        self.limit = limit
        self.memory: OrderedDict[str, tuple[File, int]] = OrderedDict()
        self._held = 0  # bytes of it
        self.writable = limit > 0  # else values stay in memory
        self._written = self._failed = 0
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        self._known: dict[str, Packs] = {}
        self._opened: OrderedDict[Path, File] = OrderedDict()

    # A value alone is in NODE/KEY[:2]/KEY.safetensors; its family is a folder of small files, one for each option set.
    # A pack is in NODE/packs; the keys in it and their families are in its header.
    def path(self, key: str, node: str) -> Path:
        return self.folder.joinpath(node, key[:2], f"{key}.safetensors")

    def get(self, key: str, node: str, packs: int = OPEN) -> Any:
        """The value at an address, or None; so many packs stay at hand."""
        if (kept := self.memory.get(key)) is not None:  # at once: another thread may drop it
            return kept[0].value(key)
        packed = self._packed(key, node)
        file = None if packed is None else self._open(packed[0], packs)
        if packed is not None and file is None:  # another process removed it
            self._known.pop(node, None)
        path = self.path(key, node) if packed is None or file is None else packed[0]
        file = file or self._open(path, packs)
        if file is None:
            return None
        try:
            return file.value(key)
        except Exception as reason:  # whole, but of another making
            self._remove(path, reason)
            return None

    def seconds(self, key: str, node: str) -> float | None:
        """What computing the value at an address took; None where there is none."""
        packed = self._packed(key, node)
        if packed is not None:
            return packed[1]
        with contextlib.suppress(OSError, ValueError, KeyError):
            return describe(self.path(key, node))[key].seconds
        return None

    def put(self, key: str, value: Any, facts: Facts) -> None:
        """Keep a value. Never raises for a full or read-only disk: the value stays in memory then."""
        self._put(self.path(key, facts.node), [Kept(key, value, facts)])
        if facts.family and self.writable:
            with contextlib.suppress(OSError):
                member = self._family_folder(facts.family, facts.node) / key
                atomic.write(member, json.dumps(dict(facts.options)).encode())

    def pack(self, values: Sequence[Kept]) -> None:
        """Keep values of one node as one file, likewise."""
        name = hashlib.blake2b("".join(kept.key for kept in values).encode(), digest_size=16).hexdigest()
        node = values[0].facts.node
        self._put(self.folder / node / "packs" / f"{name}.safetensors", values)
        if node in self._known:  # to be looked at again, also within one tick of the folder's clock
            self._known[node] = replace(self._known[node], stamp=0)

    def _put(self, path: Path, values: Sequence[Kept]) -> None:
        content = encode(values)
        size = sum(map(len, content))
        if self.writable:
            try:
                atomic.write(path, *content)
                self._failed = 0
                self._written += size
                if self._written > self.limit // 20:
                    self._written = 0
                    self.prune()
                return
            except OSError as reason:
                self._failed += 1
                self.writable = reason.errno not in LASTING and self._failed < ATTEMPTS
                what = "this value stays" if self.writable else "values from now on stay"
                self._warn(what, f"the store {self.folder} cannot be written ({reason}); {what} in memory")
        file = decode(b"".join(content))
        with self._lock:
            for kept in values:
                self._held += size // len(values) - self.memory.pop(kept.key, (None, 0))[1]
                self.memory[kept.key] = file, size // len(values)
            while len(self.memory) > 1 and self._held > MEMORY:
                self._held -= self.memory.popitem(last=False)[1][1]

    def _open(self, path: Path, packs: int) -> File | None:
        """What a file holds, or None. A pack stays at hand for a while."""
        if (opened := self._opened.get(path)) is not None:
            return opened
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            file = decode(content)
        except Exception as reason:  # whatever a damaged file makes the parsers raise
            self._remove(path, reason)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        if len(file.header) > 1:
            with self._lock:
                self._opened[path] = file
            self.close(packs)
        return file

    def close(self, keep: int = OPEN) -> None:
        """Forget the packs at hand, but for the last."""
        with self._lock:
            while len(self._opened) > keep:
                self._opened.popitem(last=False)

    def _remove(self, path: Path, reason: Exception) -> None:
        self._warn(f"damaged {path}", f"stored value {path} is damaged ({reason}); it is computed again")
        self._opened.pop(path, None)
        with contextlib.suppress(OSError):
            path.unlink()

    def _packed(self, key: str, node: str) -> tuple[Path, float] | None:
        """The pack that holds a value, and the seconds that computing it took."""
        known = self._known.get(node)
        return known.found[key] if known is not None and key in known.found else self._packs(node).found.get(key)

    def _packs(self, node: str) -> Packs:
        """What the packs of a node hold; read again where others were written meanwhile."""
        folder = self.folder / node / "packs"
        known = self._known.get(node, Packs())
        try:
            stamp = folder.stat().st_mtime_ns
            if known.stamp != stamp:
                with self._lock:
                    known = self._known[node] = Packs.of(folder, stamp, known)
        except OSError:
            return Packs()
        return known

    def family(self, family: str, node: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Addresses and options of the entries of one node on one shape."""
        yield from list(self._packs(node).families.get(family, {}).items())
        try:
            members = list(self._family_folder(family, node).iterdir())
        except OSError:
            return
        for member in members:
            with contextlib.suppress(OSError, ValueError):
                if self.path(member.name, node).exists():
                    yield member.name, options_of(json.loads(member.read_text()))

    def _family_folder(self, family: str, node: str) -> Path:
        return self.folder / node / "families" / family[:2] / family

    def older(self) -> list[Store]:
        """What versions of cotan with an older format left in the same cache; this one reads none of it."""
        return [Store(self.folder.parent, self.limit, version) for version in range(1, FORMAT)]

    def entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of all entries, packs among them."""
        for pattern in ("*/??/*.safetensors", "*/packs/*.safetensors"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    yield path, path.stat()

    def summary(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes by node."""
        out: dict[str, tuple[int, int]] = {}
        for path, stat in self.entries():
            node = path.parent.parent.name
            count, size = out.get(node, (0, 0))
            here = self._packs(node).counts.get(path.name, 0) if path.parent.name == "packs" else 1
            out[node] = count + here, size + stat.st_size
        return dict(sorted(out.items()))

    def prune(self, limit: int | None = None, node: str | None = None) -> tuple[int, int]:
        """Remove least recently used files (of one node, if named) until the rest fit the limit. (files, bytes) removed."""
        limit = self.limit if limit is None else limit
        found = [(s.st_mtime, s.st_size, p) for p, s in self.entries() if node in (None, p.parent.parent.name)]
        total, removed, freed = sum(size for _, size, _ in found), 0, 0
        for _, size, path in sorted(found, key=lambda item: item[0]):
            if total <= limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total, removed, freed = total - size, removed + 1, freed + size
        for member in self.folder.glob("*/families/??/*/[!.]*"):  # of values that are gone
            with contextlib.suppress(OSError):
                if not self.path(member.name, member.parents[3].name).exists():
                    member.unlink()
                    member.parent.rmdir()  # where it was the last
        for leftover in self.folder.rglob(f"{atomic.BESIDE}*"):  # of writers that were killed
            with contextlib.suppress(OSError):
                if leftover.stat().st_mtime < time.time() - 3600:
                    leftover.unlink()
        return removed, freed

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def store() -> Store:
    """The store in use, in `cache_folder()`; at most `COTAN_CACHE_GB` gigabytes (20), 0: in memory."""
    try:
        limit = float(os.environ.get("COTAN_CACHE_GB", "20"))
        if not 0 <= limit < math.inf:
            raise ValueError
    except ValueError:
        raise CotanError(f"COTAN_CACHE_GB={os.environ['COTAN_CACHE_GB']!r}, expected a number of gigabytes") from None
    return _store(cache_folder(), int(limit * 2**30))


@lru_cache(maxsize=8)
def _store(folder: Path, limit: int) -> Store:
    return Store(folder, limit)
