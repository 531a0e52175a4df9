"""A dataset in the store: each of its lists packed into few tensors, and a record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .store import store
from .stored import Facts
from .values import map_tensors

if TYPE_CHECKING:
    from .datasets import Splits


def put(key: str, splits: Splits) -> None:
    """One entry for the whole dataset."""
    from torch_geometric.data import Data

    record = {"classes": list(splits.classes), "task": splits.task, "lists": list(splits.lists())}
    content = {name: _packed(shapes) for name, shapes in splits.lists().items()}
    content["template"] = _packed([] if splits.template is None else [splits.template])
    store().put(f"{key}-packed", Data(record=json.dumps(record), **content), Facts("dataset", splits.name, {}, "", 0.0))


def get(key: str) -> dict[str, Any] | None:
    """The arguments of `Splits` for a dataset that is in the store; None for another."""
    import torch_geometric.data  # noqa: F401  (stored shapes are its Data)

    found = store().get(f"{key}-packed", "dataset")
    if found is None:
        return None
    record = json.loads(found["record"])
    lists: dict[str, Any] = {name: _unpacked(found[name]) for name in record["lists"]}
    stress = {n.removeprefix("stress_"): lists.pop(n) for n in record["lists"] if n.startswith("stress_")}
    template = next(iter(_unpacked(found["template"])), None)
    return {
        **lists,
        "stress": stress,
        "classes": tuple(record["classes"]),
        "task": record["task"],
        "template": template,
    }


def _packed(shapes: Sequence[Any]) -> Any:
    """A `Data` of few tensors: those of an attribute follow each other, whole numbers in as few bytes as hold them."""
    from torch_geometric.data import Data

    groups: dict[tuple[str, torch.dtype, int], tuple[list[int], list[Tensor]]] = {}
    out = Data(count=len(shapes))
    for place, shape in enumerate(shapes):
        for name in shape.keys():
            value = shape[name]
            if isinstance(value, Tensor):
                places, tensors = groups.setdefault((name, value.dtype, value.ndim), ([], []))
                places.append(place)
                tensors.append(value)
            else:
                out[f"{place}.{name}"] = map_tensors(Tensor.clone, value)  # a file shares no tensor with another
    for number, ((name, _, dimensions), (places, tensors)) in enumerate(groups.items()):
        values = torch.cat([tensor.reshape(-1) for tensor in tensors])
        sizes = torch.tensor([tensor.shape for tensor in tensors], dtype=torch.long).reshape(len(tensors), dimensions)
        long = values.dtype == torch.int64
        part = Data(name=name, places=torch.tensor(places), sizes=sizes, values=_narrow(values) if long else values)
        part["long"] = long
        out[f"part {number}"] = part
    return out


def _unpacked(packed: Any) -> list[Any]:
    from torch_geometric.data import Data

    shapes = [Data() for _ in range(packed["count"])]
    for key, value in packed.to_dict().items():
        if key.startswith("part "):
            values = value["values"].long() if value["long"] else value["values"]
            sizes = value["sizes"]
            pieces = values.split(sizes.prod(1).tolist())
            for place, size, piece in zip(value["places"].tolist(), sizes.tolist(), pieces):
                shapes[place][value["name"]] = piece.clone().reshape(size)  # a view would be pickled with the whole
        elif key != "count":
            place, _, name = key.partition(".")
            shapes[int(place)][name] = value
    return shapes


def _narrow(values: Tensor) -> Tensor:
    """int64 in the smallest type that holds the values."""
    low, high = (int(values.min()), int(values.max())) if values.numel() else (0, 0)
    kinds = (torch.uint8, torch.int16, torch.int32, torch.int64)
    return values.to(next(k for k in kinds if torch.iinfo(k).min <= low and high <= torch.iinfo(k).max))
