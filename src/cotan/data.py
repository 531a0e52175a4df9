"""What a `Data` has: its sources, vertices and device; and what of it is refused, in one sentence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from .errors import CotanError
from .nodes import COUNTED, SOURCES, TENSORS
from .sparse import check_range

_WAYS = {
    "HeteroData": "its to_homogeneous() gives one",
    "Trimesh": "torch_geometric.utils.from_trimesh gives one",
    "Graph": "torch_geometric.utils.from_networkx gives one",
    "DiGraph": "torch_geometric.utils.from_networkx gives one",
}
PLURAL = {"vertex": "vertices", "edge": "edges", "face": "faces"}


def way_to_data(thing: Any) -> str:
    """The end of an error about what is no `Data`: what makes one of it, where that is known."""
    kind = type(thing).__name__
    return f"; {_WAYS[kind]}" if kind in _WAYS else ""


def check_data(data: Any) -> None:
    """Raise for what is no `Data`, saying what makes one of it, and for tensors on the device meta."""
    if not hasattr(data, "_store"):
        way = way_to_data(data) or "; cotan.read(path) gives one"
        raise CotanError(f"expected a torch_geometric Data, got {type(data).__name__}{way}")
    for name in data.keys():
        if getattr(data[name], "is_meta", False):
            raise CotanError(f"{name} lies on the device meta, which holds no numbers; expected cpu or a GPU")


def check_points(use: str, data: Any) -> None:
    """Raise for what has no finite vertices in space. `use` says what these are wanted for."""
    check_data(data)
    pos = data.get("pos")
    if pos is None:
        has = ", ".join(data.keys()) or "nothing"
        if data.get("edge_index") is not None:
            has += (
                "; places = networkx.spring_layout(torch_geometric.utils.to_networkx(graph), dim=3) and "
                "graph.pos = torch.stack([*map(torch.tensor, places.values())]) lay a graph out"
            )
        raise CotanError(f"expected a shape with pos to {use}; it has: {has}")
    if pos.ndim != 2 or pos.shape[1] != 3 or not len(pos):
        plane = "; torch.nn.functional.pad(pos, (0, 1)) lays a plane in space" * (pos.shape[1:] == (2,))
        raise CotanError(f"{use}: pos is {tuple(pos.shape)}, expected vertices (V, 3), one at least{plane}")
    if not bool(pos.isfinite().all()):
        raise CotanError(f"{use}: {int((~pos.isfinite()).any(1).sum())} of {len(pos)} vertices are not finite")


def sources_of(data: Mapping[str, Any] | Any) -> frozenset[str]:
    """The names that a `Data` can answer by itself."""
    given = {name for name in data.keys() if data[name] is not None}
    count = number_of_shapes(data)
    if count > 1:
        each = (
            "batch.to_data_list() gives each"
            if hasattr(data, "to_data_list")
            else "cotan.apply, inputs and predict take it"
        )
        raise CotanError(f"a batch of {count} shapes where one is expected: {each}")
    if "weight" not in SOURCES and "edge_weight" not in given:  # as from_networkx leaves it
        edges, weight = (getattr(data.get(name), "shape", ()) for name in ("edge_index", "weight"))
        if weight == edges[1:] and weight not in ((), (0,)):
            text = "weight, a number for each edge, is no edge_weight; data.edge_weight = data.weight makes it that"
            warnings.warn(text, stacklevel=3)
    return frozenset(given | COUNTED)


def number_of_shapes(data: Mapping[str, Any] | Any) -> int:
    """What the vectors `batch` and `ptr` of a batch say; 1 without them."""
    batch: Any = data.get("batch")
    ptr = data.get("ptr")
    last = int(batch.max()) if getattr(batch, "ndim", 0) == 1 and len(batch) else 0
    return max(1 + last, 0 if ptr is None else len(ptr) - 1)


def number_of_vertices(data: Any) -> int:
    """V, from what the data holds per vertex; from the largest index where it holds nothing."""
    have = getattr(data, "_store", data)  # a Data's own `get` takes ten times as long, which tells for small graphs
    if hasattr(data, "_store") and have.get("num_nodes") is not None:
        return int(have["num_nodes"])
    declared = (name for name in have.keys() if name in SOURCES and SOURCES[name].per == "vertex")
    for name in chain(("pos", "x"), declared):
        if have.get(name) is not None:
            return len(have[name])
    for name in ("face", "edge_index"):
        if have.get(name) is not None and have[name].numel():
            return int(have[name].long().max()) + 1  # torch has no max of uint16, say
    return 0


def check_source(name: str, value: Any, data: Any) -> None:
    """Raise for what is no dense tensor, vertex numbers out of range, and numbers that are missing or not finite."""
    if name not in SOURCES or name in COUNTED or not (name in TENSORS or isinstance(value, torch.Tensor)):
        return
    if not isinstance(value, torch.Tensor):
        raise CotanError(f"{name} is a {type(value).__name__}, expected a tensor")
    if value.layout != torch.strided:
        raise CotanError(f"{name} is sparse ({value.layout}), expected a dense tensor: {name}.to_dense()")
    if value.device.type == "mps":  # a Mac's GPU
        raise CotanError(f"{name} is on mps, which has no float64, and shapes are computed in it: data.cpu()")
    declared = SOURCES[name]
    if declared.index == "vertex":
        check_numbers(name, value, number_of_vertices(data))
    if declared.per == "vertex" and value.shape[:1] != (number_of_vertices(data),):
        raise CotanError(
            f"{name} has shape {tuple(value.shape)}, expected a row for each of {number_of_vertices(data)} vertices"
        )
    if name == "pos" and value.ndim != 2:
        raise CotanError(f"pos has shape {tuple(value.shape)}, expected (V, 3)")
    if not value.is_floating_point() or math.isfinite(float(value.detach().sum())):  # the cheapest look at all of them
        return
    if not bool(torch.isfinite(value.detach()).all()):
        at = ""
        if declared.per in PLURAL:
            bad = (~torch.isfinite(value.detach())).reshape(len(value), -1).any(1)
            at = f" at {int(bad.sum())} of {len(value)} {PLURAL[declared.per]}"
        raise CotanError(f"{name} has NaN or infinite values{at}")


def check_numbers(name: str, value: torch.Tensor, size: int) -> None:
    """Raise for what is no table of numbers of `size` vertices, a column an edge or face."""
    rows = {"face": 3, "edge_index": 2}.get(name)
    if value.ndim != 2 or value.shape[0] != (rows or value.shape[0]):
        raise CotanError(f"{name} has shape {tuple(value.shape)}, expected ({rows or 'n'}, {name[0].upper()})")
    check_range(name, value, size)


def device_of(data: Any) -> torch.device:
    values = getattr(data, "_store", data).values()
    return next((value.device for value in values if isinstance(value, torch.Tensor)), torch.device("cpu"))
