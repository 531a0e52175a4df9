"""Shapes given together: a list, a dataset, PyG's `Batch`, or a `Data` with the vector `batch`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from .data import check_numbers, number_of_shapes
from .errors import CotanError
from .nodes import COUNTED, SOURCES

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

    What is per vertex goes by `batch`, edges and faces with the vertices that they name, and what is per edge or face with
    these. All else goes by PyG's slices where they fit, or else is a row a shape, or one thing for all.
    """
    from torch_geometric.data.separate import separate

    count, batch = number_of_shapes(data), _batch(data)
    sizes = torch.bincount(batch, minlength=count).tolist()
    starts = [0, *accumulate(sizes)]
    slices: dict[str, Any] = getattr(data, "_slice_dict", {})

    @cache
    def places(name: str) -> Tensor:
        return _places(name, _plain(data[name]), batch)

    def cut(name: str) -> Sequence[Any] | None:
        """What each shape has of an attribute; None where PyG's slices say it."""
        value, source = _plain(data[name]), SOURCES.get(name)
        fits = _fits(slices.get(name), data, name, value, count)
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.ndim == 0:
            one_a_shape = isinstance(value, list | tuple) and len(value) == count
            return None if fits else list(value) if one_a_shape else [value] * count
        per, index = (source.per, source.index) if source else (None, None)
        carrier = CARRIERS.get(per or "")
        if fits and name != carrier:  # but what goes with its vertices or edges is where they are by now
            with_edges = carrier in slices and torch.equal(slices[name], slices[carrier])
            if index or not (with_edges or (per == "vertex" and len(value) == len(batch))):
                return None
        dim = -1 if carrier and index else 0
        of = None  # the shape of each row, or of each column of vertex numbers
        if per == "vertex" or (per is None and len(value) == len(batch)):
            of = batch
        elif carrier and (index or isinstance(data.get(carrier), Tensor)):
            of = places(name if index else carrier)
        if of is not None and len(of) == value.shape[dim]:
            parts = _split(value, of, count, dim)
            return [part - start for part, start in zip(parts, starts)] if index else parts
        if per in (None, "shape") and len(value) == count:
            return list(value)
        if per is None:
            return [value] * count
        there = count if per == "shape" else "none" if of is None else len(of)
        raise CotanError(
            f"{name} of the batch has shape {tuple(value.shape)}, expected a row for each {per}; there are {there}"
        )

    pieces = {name: cut(name) for name in data.keys() if name not in COUNTED}
    sliced = [name for name, parts in pieces.items() if parts is None]
    made = type(data).__bases__[-1] if hasattr(data, "to_data_list") else type(data)
    before = [{name: known[name] for name in sliced} for known in (slices, getattr(data, "_inc_dict", {}))]
    shapes = []
    for i in range(count):
        shape = separate(made, data, i, *before) if sliced else made()
        for name, parts in pieces.items():
            if parts is not None:
                shape[name] = parts[i]
        shape.num_nodes = sizes[i]
        shapes.append(shape)
    return shapes


def _fits(slices: Any, data: Any, name: str, value: Any, count: int) -> bool:
    """Whether PyG's slices say of a value, as it is now, what each shape has."""
    if slices is None or data.num_graphs != count:
        return False
    if isinstance(value, Tensor):  # PyG cannot cut torch's sparse tensors
        known = isinstance(slices, Tensor) and value.layout == torch.strided and value.ndim > 0
        return known and int(slices[-1]) == value.shape[data.__cat_dim__(name, value) or 0]
    return not isinstance(value, list | tuple) or len(value) == count or isinstance(slices, list)


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
    return batch.long()


def _places(name: str, numbers: Tensor, batch: Tensor) -> Tensor:
    """(E,) the number of the shape that the vertices of each edge or face belong to."""
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


def _split(value: Tensor, places: Tensor, count: int, dim: int) -> Sequence[Tensor]:
    """What each shape has of values of vertices, edges or faces, in their order."""
    if bool((places.diff() < 0).any()):
        value = value.index_select(dim, places.argsort(stable=True))
    return torch.split(value, torch.bincount(places, minlength=count).tolist(), dim)


def _plain(value: Any) -> Any:
    """PyG's `EdgeIndex` and `Index` as the tensors that they are."""
    return value.as_tensor() if hasattr(value, "as_tensor") else value
