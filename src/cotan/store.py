"""The store: computed values on disk, found by what they were computed from.

An entry is a safetensors file: tensors, and in its header a JSON description, the node and a checksum. It is written beside
its place and renamed, so a reader sees all of it or nothing; what does not match its checksum is said once and computed again.
Where the folder cannot be written, values stay in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .errors import CotanError
from .values import put_together, take_apart

FORMAT = 1
CHECKSUM = 16  # bytes before the safetensors
MEMORY = 256 * 2**20  # bytes kept in memory where the folder fails


@dataclass(frozen=True)
class Entry:
    """What the header says of a value."""

    node: str
    label: str
    options: Mapping[str, Any]
    family: str  # shared by entries of one node and one shape that differ in options
    seconds: float  # that computing it took


class Store:
    """Values by address in a folder, with a size cap: the least recently used go first.

    >>> Store("/tmp/cache", limit=10 * 2**30)
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int):
        self.folder = Path(folder) / f"v{FORMAT}"
        self.limit = limit
        self.memory: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self.writable = True
        self._written = 0
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    # An entry's file is NODE/FAMILY[:2]/FAMILY[:16]-KEY.safetensors, but an exact look-up knows only the key:
    # so files are named by the key, and a family is a folder of empty files beside them, one for each option set.
    def path(self, key: str, node: str) -> Path:
        return self.folder / node / key[:2] / f"{key}.safetensors"

    def get(self, key: str, node: str) -> Any:
        """The value at an address, or None."""
        if key in self.memory:
            return self.memory[key][0]
        path = self.path(key, node)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            value = _decode(content)[1]
        except Exception as reason:  # whatever a damaged file makes the parsers raise
            self._warn(f"damaged {key}", f"stored value {path} is damaged ({reason}); it is computed again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return value

    def put(self, key: str, value: Any, entry: Entry) -> None:
        """Keep a value. Never raises for a full or read-only disk: the value stays in memory then."""
        content = _encode(value, entry)
        if self.writable:
            try:
                self._write(self.path(key, entry.node), content)
                if entry.family:
                    member = self._family_folder(entry.family, entry.node) / key
                    self._write(member, json.dumps(dict(entry.options)).encode())
                self._written += len(content)
                if self._written > self.limit // 20:
                    self._written = 0
                    self.prune()
                return
            except OSError as reason:
                self.writable = False
                self._warn("unwritable", f"the store {self.folder} cannot be written ({reason}); values stay in memory")
        with self._lock:
            self.memory[key] = value, len(content)
            while len(self.memory) > 1 and sum(size for _, size in self.memory.values()) > MEMORY:
                self.memory.popitem(last=False)

    def family(self, family: str, node: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Addresses and options of the entries of one node on one shape."""
        try:
            members = list(self._family_folder(family, node).iterdir())
        except OSError:
            return
        for member in members:
            if member.name.startswith("."):
                continue
            with contextlib.suppress(OSError, ValueError):
                options = json.loads(member.read_text())
                if self.path(member.name, node).exists():
                    yield member.name, {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
                else:
                    member.unlink()

    def _family_folder(self, family: str, node: str) -> Path:
        return self.folder / node / "families" / family[:2] / family

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of all entries."""
        for path in self.folder.glob("*/??/*.safetensors"):
            with contextlib.suppress(OSError):
                yield path, path.stat()

    def summary(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes by node."""
        out: dict[str, tuple[int, int]] = {}
        for path, stat in self.entries():
            node = path.parent.parent.name
            count, size = out.get(node, (0, 0))
            out[node] = count + 1, size + stat.st_size
        return dict(sorted(out.items()))

    def prune(self, limit: int | None = None, node: str | None = None) -> tuple[int, int]:
        """Remove least recently used entries (of one node, if named) until the rest fit the limit. (entries, bytes) removed."""
        limit = self.limit if limit is None else limit
        found = [(s.st_mtime, s.st_size, p) for p, s in self.entries() if node in (None, p.parent.parent.name)]
        total, removed, freed = sum(size for _, size, _ in found), 0, 0
        for _, size, path in sorted(found, key=lambda item: item[0]):
            if total <= limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total, removed, freed = total - size, removed + 1, freed + size
        for leftover in self.folder.glob("*/*/.writing-*"):  # of writers that were killed
            with contextlib.suppress(OSError):
                if leftover.stat().st_mtime < _an_hour_ago():
                    leftover.unlink()
        return removed, freed

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def _encode(value: Any, entry: Entry) -> bytes:
    from safetensors.torch import save

    tensors: list[torch.Tensor] = []
    header = json.dumps({"value": take_apart(value, tensors), "entry": asdict(entry)})
    content: bytes = save({str(i): t for i, t in enumerate(tensors)} or {"none": torch.zeros(0)}, {"cotan": header})
    return hashlib.blake2b(content, digest_size=CHECKSUM).digest() + content


def _decode(content: bytes) -> tuple[Entry, Any]:
    from safetensors.torch import load

    checksum, body = content[:CHECKSUM], content[CHECKSUM:]
    if hashlib.blake2b(body, digest_size=CHECKSUM).digest() != checksum:
        raise ValueError("its checksum does not match")
    entry, value = _header(body[8 : 8 + int.from_bytes(body[:8], "little")])
    tensors = load(body)
    return entry, put_together(value, [tensors[str(i)] for i in range(len(tensors) - ("none" in tensors))])


def describe(path: Path) -> Entry:
    """The header of an entry's file, without its tensors."""
    with open(path, "rb") as file:
        file.seek(CHECKSUM)
        length = int.from_bytes(file.read(8), "little")
        return _header(file.read(min(length, os.fstat(file.fileno()).st_size)))[0]  # a damaged length may be anything


def _header(text: bytes) -> tuple[Entry, Any]:
    """The entry and the description of the value that safetensors' own header holds."""
    found = json.loads(json.loads(text)["__metadata__"]["cotan"])
    return Entry(**found["entry"]), found["value"]


def store() -> Store:
    """The store in use: `COTAN_CACHE` or the platform's cache folder; at most `COTAN_CACHE_GB` gigabytes (20)."""
    from platformdirs import user_cache_dir

    folder = os.environ.get("COTAN_CACHE") or user_cache_dir("cotan", appauthor=False)
    try:
        limit = float(os.environ.get("COTAN_CACHE_GB", "20"))
    except ValueError:
        raise CotanError(f"COTAN_CACHE_GB={os.environ['COTAN_CACHE_GB']!r}, expected a number of gigabytes") from None
    return _store(folder, int(limit * 2**30))


@lru_cache(maxsize=8)
def _store(folder: str, limit: int) -> Store:
    return Store(folder, limit)


def _an_hour_ago() -> float:
    import time

    return time.time() - 3600
