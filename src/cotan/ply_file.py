"""The polygons of a PLY file, of several kinds in one file too, which trimesh leaves out."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

KINDS = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
SIZED = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
CODES = KINDS | dict(zip(SIZED, KINDS.values(), strict=True))
CORNERS = ("vertex_indices", "vertex_index")


def polygons(content: bytes) -> tuple[dict[str, np.ndarray], list[list[int]]]:
    """The properties of the vertices, (V,) each, and the corners of each face.

    Raises ValueError, LookupError or struct.error for what is no such file, or not all of one.
    """
    head, _, body = content.partition(b"end_header")
    order = ""
    elements: list[tuple[str, int, list[tuple[str, str, str]]]] = []
    for line in map(str.split, head.decode("ascii", "replace").splitlines()):
        match line:
            case ["format", kind, *_]:
                order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[kind]
            case ["element", name, number]:
                elements.append((name, int(number), []))
            case ["property", "list", counted, kind, name]:
                elements[-1][2].append((name, CODES[kind], CODES[counted]))
            case ["property", kind, name]:
                elements[-1][2].append((name, CODES[kind], ""))
    take: Any = _Bytes(body[body.index(b"\n") + 1 :], order) if order else _Words(body)
    columns: dict[str, np.ndarray] = {}
    faces: list[list[int]] = []
    for name, count, properties in elements:
        if not any(counted for *_, counted in properties):
            table = take.table([kind for _, kind, _ in properties], count)
            if name == "vertex":
                columns = {prop: column for (prop, *_), column in zip(properties, table, strict=True)}
            continue
        for _ in range(count):  # each takes a word or a byte at least, so the file bounds them
            for prop, kind, counted in properties:
                values = take(kind, int(take(counted, 1)[0]) if counted else 1)
                if name == "face" and prop in CORNERS:
                    faces.append([int(i) for i in values])
    return columns, faces


class _Words:
    """Numbers of a text."""

    def __init__(self, body: bytes):
        self.words, self.at = body.split(), 0

    def __call__(self, kind: str, count: int) -> Any:
        part = self.words[self.at : self.at + count]
        if len(part) != count:
            raise ValueError("it ends too early")
        self.at += count
        return list(map(float, part))

    def table(self, kinds: list[str], count: int) -> Any:
        columns = np.array(self("", count * len(kinds))).reshape(count, len(kinds)).T
        return [column.astype(kind) for column, kind in zip(columns, kinds, strict=True)]


class _Bytes:
    """Numbers one after the other; what would lie beyond the end is struct's and numpy's error."""

    def __init__(self, body: bytes, order: str):
        self.body, self.order, self.at = body, order, 0

    def __call__(self, kind: str, count: int) -> Any:
        values = struct.unpack_from(f"{self.order}{count}{kind}", self.body, self.at)
        self.at += struct.calcsize(f"{self.order}{kind}") * count
        return values

    def table(self, kinds: list[str], count: int) -> Any:
        dtype = np.dtype([(str(i), f"{self.order}{kind}") for i, kind in enumerate(kinds)])
        if not 0 <= count * dtype.itemsize <= len(self.body) - self.at:
            raise ValueError("it ends too early")
        rows = np.frombuffer(self.body, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return [rows[name] for name in dtype.names or ()]
