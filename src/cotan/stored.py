"""What a file of the store holds: values of one node, with what is said of each.

A checksum, then safetensors, whose header describes the values in JSON. The first tensors of all values are one tensor there,
and so are the second: thousands of small ones would take longer to read than what they hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .values import put_together, take_apart

CHECKSUM = 16  # bytes before the safetensors


@dataclass(frozen=True)
class Facts:
    """What is said of a value."""

    node: str
    label: str
    options: Mapping[str, Any]
    family: str  # shared by entries of one node and one shape that differ in options
    seconds: float  # that computing it took


class Kept(NamedTuple):
    """A value on its way to the store."""

    key: str
    value: Any
    facts: Facts


class File(NamedTuple):
    """What a file holds; a value is put together when it is asked for, of tensors of its own."""

    header: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    def value(self, key: str) -> Any:
        description, pieces, *_ = self.header[key]
        return put_together(description, [self._piece(*piece) for piece in pieces])

    def _piece(self, name: str, start: int, *shape: int) -> torch.Tensor:
        own = self.tensors[name].narrow(0, start, math.prod(shape)).clone()
        return own if len(shape) == 1 else own.view(shape)


@dataclass(frozen=True)
class Packs:
    """The packs of a node.

    Attributes:
        stamp: when their folder last changed. found: the pack that has a key, and the seconds that computing it took.
        families: the options of the keys of a family. counts: how many values a pack has, by its name in the folder.
    """

    stamp: int = 0
    found: Mapping[str, tuple[Path, float]] = field(default_factory=dict)
    families: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, stamp: int, known: Packs) -> Packs:
        """Those in a folder; the headers of files that are not yet known are read."""
        there = {name for name in os.listdir(folder) if name.endswith(".safetensors")}
        if known.counts.keys() - there:
            known = Packs()
        found, families, counts = dict(known.found), dict(known.families), dict(known.counts)
        for name in there - counts.keys():
            with contextlib.suppress(OSError, ValueError):
                entries = describe(folder / name)
                counts[name] = len(entries)
                for key, facts in entries.items():
                    found[key] = folder / name, facts.seconds
                    if facts.family:
                        families[facts.family] = {**families.get(facts.family, {}), key: facts.options}
        return cls(stamp, found, families, counts)


def encode(values: Sequence[Kept]) -> tuple[bytes, bytes]:
    """The content of a file: checksum and safetensors; the values are of one node with the same options."""
    from safetensors.torch import save

    pieces: dict[str, list[torch.Tensor]] = {}
    ends: dict[str, int] = {}
    header: dict[str, Any] = {}
    for key, value, facts in values:
        own: list[torch.Tensor] = []
        places: list[list[Any]] = []
        header[key] = [take_apart(value, own), places, facts.family, facts.seconds]
        for number, tensor in enumerate(own):
            name = f"{number} {tensor.dtype}"
            places.append([name, ends.setdefault(name, 0), *tensor.shape])
            ends[name] += tensor.numel()
            pieces.setdefault(name, []).append(tensor.reshape(-1))
    named: dict[str, torch.Tensor] = {}
    memory: set[int] = set()
    for name, parts in pieces.items():
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        at = whole.untyped_storage().data_ptr()
        named[name] = whole.clone() if at in memory else whole  # safetensors refuses those that share their memory
        memory.add(at)
    first = values[0].facts
    shared = {"node": first.node, "label": first.label, "options": dict(first.options)}
    content: bytes = save(named, {"cotan": json.dumps({"shared": shared, "values": header})})
    return hashlib.blake2b(content, digest_size=CHECKSUM).digest(), content


def decode(content: bytes) -> File:
    """Raises for a content that does not match its checksum."""
    from safetensors.torch import load

    checksum, body = content[:CHECKSUM], content[CHECKSUM:]
    if hashlib.blake2b(body, digest_size=CHECKSUM).digest() != checksum:
        raise ValueError("its checksum does not match")
    header = _header(body[8 : 8 + int.from_bytes(body[:8], "little")])
    return File(header["values"], load(body))


def describe(path: Path) -> dict[str, Facts]:
    """What is said of each value in a file, by its key, without its tensors. Raises ValueError for a damaged header."""
    with open(path, "rb") as file:
        file.seek(CHECKSUM)
        length = int.from_bytes(file.read(8), "little")
        text = file.read(min(length, os.fstat(file.fileno()).st_size))  # a damaged length may be anything
    try:
        header = _header(text)
        shared = header["shared"] | {"options": options_of(header["shared"]["options"])}
        values = header["values"].items()
        return {key: Facts(**shared, family=family, seconds=seconds) for key, (*_, family, seconds) in values}
    except (LookupError, TypeError, AttributeError) as reason:  # JSON still, but another
        raise ValueError(f"{path} has no header of the store") from reason


def _header(text: bytes) -> Any:
    """Ours, within that of safetensors."""
    return json.loads(json.loads(text)["__metadata__"]["cotan"])


def options_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were before JSON made lists of their tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
