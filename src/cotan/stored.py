"""What a file of the store holds: values of one node, with what is said of each.

A checksum, then safetensors, whose header describes the values in JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
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
    tensors: list[torch.Tensor]

    def value(self, key: str) -> Any:
        description, first, count, *_ = self.header[key]
        return put_together(description, [tensor.clone() for tensor in self.tensors[first : first + count]])


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
                        families[facts.family] = {**families.get(facts.family, {}), key: options_of(facts.options)}
        return cls(stamp, found, families, counts)


def encode(values: Sequence[Kept]) -> tuple[bytes, bytes]:
    """The content of a file: checksum and safetensors; the values are of one node with the same options."""
    from safetensors.torch import save

    tensors: list[torch.Tensor] = []
    header: dict[str, Any] = {}
    memory: set[int] = set()
    for key, value, facts in values:
        own: list[torch.Tensor] = []
        header[key] = [take_apart(value, own), len(tensors), len(own), facts.family, facts.seconds]
        for tensor in own:  # safetensors refuses those that share their memory
            where = tensor.untyped_storage().data_ptr()
            tensors.append(tensor.clone() if where in memory else tensor)
            memory.add(where)
    first = values[0].facts
    shared = {"node": first.node, "label": first.label, "options": dict(first.options)}
    named = {str(i): t for i, t in enumerate(tensors)} or {"none": torch.zeros(0)}
    content: bytes = save(named, {"cotan": json.dumps({"shared": shared, "values": header})})
    return hashlib.blake2b(content, digest_size=CHECKSUM).digest(), content


def decode(content: bytes) -> File:
    """Raises for a content that does not match its checksum."""
    from safetensors.torch import load

    checksum, body = content[:CHECKSUM], content[CHECKSUM:]
    if hashlib.blake2b(body, digest_size=CHECKSUM).digest() != checksum:
        raise ValueError("its checksum does not match")
    header = _header(body[8 : 8 + int.from_bytes(body[:8], "little")])
    tensors = load(body)
    return File(header["values"], [tensors[str(i)] for i in range(len(tensors) - ("none" in tensors))])


def describe(path: Path) -> dict[str, Facts]:
    """What is said of each value in a file, by its key, without its tensors. Raises ValueError for a damaged header."""
    with open(path, "rb") as file:
        file.seek(CHECKSUM)
        length = int.from_bytes(file.read(8), "little")
        text = file.read(min(length, os.fstat(file.fileno()).st_size))  # a damaged length may be anything
    try:
        header = _header(text)
        values = header["values"].items()
        return {key: Facts(**header["shared"], family=family, seconds=seconds) for key, (*_, family, seconds) in values}
    except (LookupError, TypeError, AttributeError) as reason:  # JSON still, but another
        raise ValueError(f"{path} has no header of the store") from reason


def _header(text: bytes) -> Any:
    """Ours, within that of safetensors."""
    return json.loads(json.loads(text)["__metadata__"]["cotan"])


def options_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were before JSON made lists of their tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
