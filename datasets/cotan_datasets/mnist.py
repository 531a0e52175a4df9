"""Handwritten digits (LeCun et al. 1998): as images, on the graph of their pixels, or as graphs of superpixels."""

import gzip
import math
import shutil
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch
from torch import Tensor

import cotan
from cotan.errors import one_of

from .raw import raw_folder
from .spread import spread
from .superpixels import superpixel_graph

URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
FILES = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
SIZES = {"train": 60_000, "test": 10_000}
DIGITS = tuple("0123456789")
MOST = 2**26  # bytes of a file that are read: 60,000 images are 47 million


@cotan.dataset("mnist")
def mnist(*, root: str = "", kind: str = "image", train: int = 60_000, test: int = 10_000) -> cotan.Splits:
    """Handwritten digits of 28 x 28 pixels, from 0 to 1.

    Arguments:
        root: the folder of the IDX files train-images-idx3-ubyte[.gz], ...; by default they are downloaded to the cache.
        kind: "image": an image (1, 28, 28), for networks on grids; for dense ones x (1, 784), the digit as one vertex.
            "grid": x (784, 1) on the graph of each pixel and its 8 neighbours, which all digits share; pos is
                (column, -row, 0) in pixels.
        train, test: how many, the first ones of the files.
    """
    from torch_geometric.data import Data

    one_of("kind of mnist", kind, ("image", "grid"))
    pos, edge_index = grid(28, 28)
    lists = {}
    for part, (images, labels) in _read(root, train, test).items():
        bright = torch.from_numpy(images / np.float32(255))
        # Each has numbers of its own: a view would go to another process with all of them.
        digits = ((x.clone(), y.clone()) for x, y in zip(bright, labels.split(1)))
        if kind == "image":
            lists[part] = [Data(image=x[None], x=x.view(1, -1), y=y) for x, y in digits]
        else:
            lists[part] = [Data(x=x.view(-1, 1), pos=pos, edge_index=edge_index, y=y) for x, y in digits]
    return cotan.Splits(lists["train"], [], lists["test"], classes=DIGITS)


# Kept in the store under a number, raised when the graphs change, and the digits that they are made of.
@cotan.dataset("mnist-superpixels", version=lambda root, train, test, **_: [1, *_read(root, train, test).values()])
def superpixels(
    *,
    root: str = "",
    train: int = 60_000,
    test: int = 10_000,
    segments: int = 75,
    compactness: float = 0.25,
    edges: str = "nearest",
    neighbours: int = 8,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> cotan.Splits:
    """Digits as graphs of superpixels: x (V, 1) the mean brightness, pos (V, 3) the centre, (column, -row, 0) in pixels.

    Arguments:
        root, train, test: as of mnist.
        segments, compactness: of SLIC (Achanta et al. 2012); about as many superpixels come out.
        edges: "nearest": each with its `neighbours` nearest, both ways. "touching": those that share a border.
        workers: processes; they change nothing in what is made.
    """
    from torch_geometric.data import Data

    one_of("edges of mnist-superpixels", edges, ("nearest", "touching"))
    if segments < 2 or compactness <= 0 or neighbours < 1:
        raise cotan.CotanError(
            "mnist-superpixels: expected segments >= 2, compactness > 0 and neighbours >= 1, "
            f"got segments={segments}, compactness={compactness}, neighbours={neighbours}"
        )
    parts = _read(root, train, test)
    make = partial(superpixel_graph, segments=segments, compactness=compactness, edges=edges, neighbours=neighbours)
    images = [image for images, _ in parts.values() for image in images]
    made = spread(make, images, workers=workers, progress=progress)
    labels = torch.cat([labels for _, labels in parts.values()]).split(1)
    graphs = [
        Data(
            x=torch.from_numpy(x),
            pos=torch.nn.functional.pad(torch.from_numpy(centre), (0, 1)),
            edge_index=torch.from_numpy(edge_index),
            y=y.clone(),
        )
        for (x, centre, edge_index), y in zip(made, labels)
    ]
    trained = len(parts["train"][0])  # a file may have fewer than were asked for
    return cotan.Splits(graphs[:trained], [], graphs[trained:], classes=DIGITS)


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """pos (V, 3) of the pixels, row by row: (column, -row, 0); edge_index (2, E) from each to its 8 neighbours."""
    row, column = torch.arange(height * width) // width, torch.arange(height * width) % width
    near = ((row[:, None] - row).abs() <= 1) & ((column[:, None] - column).abs() <= 1)
    return torch.stack([column, -row, 0 * row], 1).float(), near.fill_diagonal_(False).nonzero().T.contiguous()


def _read(root: str, train: int, test: int) -> dict[str, tuple[np.ndarray, Tensor]]:
    """Images (N, 28, 28) of bytes and labels (N,), by split."""
    counts = {"train": train, "test": test}
    for part, count in counts.items():
        if not isinstance(count, int) or not 0 < count <= SIZES[part]:
            raise cotan.CotanError(f"mnist: {part}={count!r}, expected a number of digits from 1 to {SIZES[part]}")
    folder = raw_folder("mnist", "MNIST", FILES, root=root, fetch=_fetch, source=URL)
    out = {}
    for part, (images, labels) in {"train": FILES[:2], "test": FILES[2:]}.items():
        x, y = read_idx(folder / images), read_idx(folder / labels)
        if x.shape[1:] != (28, 28) or y.shape != x.shape[:1]:
            raise cotan.CotanError(f"mnist: {folder} holds images {x.shape} and labels {y.shape}, expected (N, 28, 28)")
        if y.max(initial=0) > 9:
            raise cotan.CotanError(f"mnist: {folder / labels} has labels up to {y.max()}, expected digits")
        out[part] = x[: counts[part]], torch.from_numpy(y[: counts[part]]).long()
    return out


def read_idx(path: Path) -> np.ndarray:
    """The array of bytes in an IDX file, plain or with .gz: a magic number, sizes as big-endian int32, the bytes."""
    try:
        with path.open("rb") if path.is_file() else gzip.open(path.with_name(f"{path.name}.gz")) as file:
            content = file.read(MOST)
    except (OSError, EOFError, zlib.error) as reason:
        raise cotan.CotanError(f"mnist: {path} cannot be read: {reason}") from reason
    dimensions = content[3] if content[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], ">i4").tolist()) if len(content) >= start else ()
    if not dimensions or len(content) != start + math.prod(shape):
        raise cotan.CotanError(f"mnist: {path} is no IDX file of bytes, or not all of one")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _fetch(folder: str) -> None:
    raw = Path(folder) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in FILES:
        with urlopen(f"{URL}/{file}.gz", timeout=60) as content, open(raw / f"{file}.gz", "wb") as out:
            shutil.copyfileobj(content, out)
        read_idx(raw / file)  # a connection that ended early is no error of urlopen's
