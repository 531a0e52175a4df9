"""Shapes given together: a list, a dataset, PyG's `Batch`, or a `Data` with the vector `batch`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from .errors import CotanError
from .evaluation import check_numbers
from .nodes import COUNTED, SOURCES, number_of_shapes

CARRIERS = {"edge": "edge_index", "face": "face"}


def listed(data: Any) -> list[Any] | None:
    """The shapes of a list, of PyG's `Batch`, as its DataLoader gives, or of one of its datasets; None of one shape."""
    together = hasattr(data, "to_data_list")
    if hasattr(data, "_store") and (number_of_shapes(data) > 1 or (together and data.get("batch") is not None)):
        return _cut(data)
    if together:
        return list(data.to_data_list())
    several: Any = data if isinstance(data, list | tuple | torch.utils.data.Dataset) else None
    return None if several is None else list(several)


def _cut(data: Any) -> list[Any]:
    """The shapes of a batch, by its vector `batch` as it is now: PyG's slices know nothing of what was set since.

    Vertices go by `batch`, edges and faces with the vertices that they name. For all else there are PyG's slices where they
    are of its length, or else a row a shape.
    """
    from torch_geometric.data.separate import separate

    count, batch = number_of_shapes(data), _batch(data)
    sizes = torch.bincount(batch, minlength=count).tolist()
    starts = [0, *accumulate(sizes)]
    slices: dict[str, Any] = getattr(data, "_slice_dict", {})
    places = {"vertex": batch}  # the shape of each
    for kind, name in CARRIERS.items():
        if isinstance(data.get(name), Tensor):
            places[kind] = _places(name, _plain(data[name]), batch)
    pieces: dict[str, Sequence[Any]] = {}
    as_before = []
    for name in data.keys():
        if name in COUNTED:
            continue
        own: Any = slices.get(name)
        value, source = _plain(data[name]), SOURCES.get(name)
        whole = isinstance(value, Tensor) and value.layout == torch.strided and value.ndim > 0
        rows = len(value) if whole or isinstance(value, list | tuple) else None
        if whole:
            length = value.shape[data.__cat_dim__(name, value) or 0]
            kept = own is not None and len(own) == count + 1 and int(own[-1]) == length
        else:  # PyG cannot cut torch's sparse tensors
            kept = own is not None and data.num_graphs == count and not isinstance(value, Tensor)
            kept = kept and (rows in (None, count) or isinstance(own, list))
        per, index = (source.per, source.index) if source else (None, None)
        if source is None and whole and not kept and rows == len(batch):
            per = "vertex"
        carrier = CARRIERS.get(per or "")
        if kept and not index and carrier in slices and torch.equal(own, slices[carrier]):
            kept = False  # it goes with its edges, wherever they are by now
        if whole and index and carrier and (name == carrier or not kept):
            of = places[per] if name == carrier else _places(name, value, batch)  # type: ignore[index]
            pieces[name] = _local(_split(value, of, count, -1), starts)
        elif whole and per in places and rows == len(places[per]) and not (kept and (index or carrier)):
            parts = _split(value, places[per], count)
            pieces[name] = _local(parts, starts) if index else parts
        elif kept:
            as_before.append(name)
        elif per in (None, "shape") and rows == count:
            pieces[name] = list(value)
        elif whole and source is not None:
            there = {of: len(place) for of, place in places.items()} | {"shape": count}
            raise CotanError(
                f"{name} of the batch has shape {tuple(value.shape)}, expected a row for each {per}; there are "
                f"{there.get(source.per, 'none')}"
            )
        else:  # one thing for all
            pieces[name] = [value] * count
    made = type(data).__bases__[-1] if hasattr(data, "to_data_list") else type(data)
    before = [{name: known[name] for name in as_before} for known in (slices, getattr(data, "_inc_dict", {}))]
    shapes = []
    for i in range(count):
        shape = separate(made, data, i, *before) if as_before else made()
        for name, values in pieces.items():
            shape[name] = values[i]
        shape.num_nodes = sizes[i]
        shapes.append(shape)
    return shapes


def _batch(data: Any) -> Tensor:
    """(V,) the shape of each vertex."""
    if data.get("batch") is None:
        return torch.repeat_interleave(data["ptr"].diff())
    batch = _plain(torch.as_tensor(data["batch"]))
    if batch.ndim != 1 or batch.is_floating_point() or bool((batch.diff() < 0).any() or (batch[:1] < 0).any()):
        raise CotanError(
            f"batch has shape {tuple(batch.shape)} of {batch.dtype}, expected the shape of each vertex, (V,) of int64, in "
            "ascending order"
        )
    numbers: Tensor = batch.long()
    return numbers


def _places(name: str, numbers: Tensor, batch: Tensor) -> Tensor:
    """(E,) the shape in which the vertices of each edge or face lie."""
    check_numbers(name, numbers, len(batch))
    places = batch[numbers.long()]
    across = places[1:] != places[0]
    if bool(across.any()):
        first = int(across.any(0).nonzero()[0])
        raise CotanError(
            f"{name} of the batch joins vertices of several shapes: column {first} is {numbers[:, first].tolist()}, of "
            f"shapes {places[:, first].tolist()}"
        )
    return places[0]


def _split(value: Tensor, places: Tensor, count: int, dim: int = 0) -> Sequence[Tensor]:
    """What each shape has of values of vertices, edges or faces, in their order."""
    if bool((places.diff() < 0).any()):
        value = value.index_select(dim, places.argsort(stable=True))
    parts: Sequence[Tensor] = torch.split(value, torch.bincount(places, minlength=count).tolist(), dim)
    return parts


def _local(parts: Sequence[Tensor], starts: Sequence[int]) -> list[Tensor]:
    return [part - start for part, start in zip(parts, starts)]


def _plain(value: Any) -> Any:
    """PyG's `EdgeIndex` and `Index` as the tensors that they are."""
    return value.as_tensor() if hasattr(value, "as_tensor") else value
