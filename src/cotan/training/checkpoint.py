"""Checkpoints: safetensors with a JSON record in the header, and the same record beside it for people.

The header is what is read back, so tensors and record are of one moment even if the process dies between two files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import atomic, registry
from ..errors import CotanError


class Damaged(CotanError):
    """Files of a run that are not there, or not whole, as a power cut may leave them."""


def save(folder: Path, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any], sync: bool = False) -> None:
    """`name`.safetensors and `name`.json in a folder, each whole or not at all; after a power cut too, the first, if `sync`."""
    from safetensors.torch import save as encode

    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    text = json.dumps(record, sort_keys=True)
    atomic.save(folder / f"{name}.safetensors", encode(own, {"cotan": text}), sync)
    atomic.save(folder / f"{name}.json", (json.dumps(record, indent=2) + "\n").encode(), sync=False)


def load(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save` wrote: tensors and record; None where there is no such file."""
    from safetensors import SafetensorError, safe_open

    path = folder / f"{name}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            record = json.loads(file.metadata()["cotan"])
            # Copies: a file that is still mapped cannot be replaced on Windows.
            return {key: file.get_tensor(key).clone() for key in list(file.keys())}, record
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as reason:
        kind = CotanError if isinstance(reason, OSError) else Damaged
        raise kind(f"checkpoint {path} cannot be read: {reason}") from reason


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state_of(
    model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a model and its optimizer under flat names, and the optimizer's groups."""
    tensors = {}
    for name, value in registry.unwrapped(model).state_dict().items():
        if not isinstance(value, Tensor):
            raise CotanError(f"the model's state {name!r} is a {type(value).__name__}; a checkpoint holds tensors only")
        tensors[f"model.{name}"] = value
    if optimizer is None:
        return tensors, {}
    state = optimizer.state_dict()
    for number, entries in state["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entries.items()}
    return tensors, {"groups": state["param_groups"]}


def load_model(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    own = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    try:
        registry.unwrapped(model).load_state_dict(own)
    except RuntimeError as reason:
        raise CotanError(f"{where} does not fit the model: {reason}") from reason


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": record["groups"]})
