"""What `cotan compute` prints of a value, and the files that it writes of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy
import scipy.sparse
import torch

from . import atomic
from .errors import CotanError
from .files import COLORED, write
from .inspect import draw
from .show import shape_of
from .sparse import Sparse
from .spectrum import Spectrum
from .values import is_named_tuple, map_tensors


def print_value(value: Any) -> None:
    if isinstance(value, dict):
        print(json.dumps(value, indent=2))
        return

    def line(t: Any) -> Any:
        if t.is_floating_point() and t.numel():
            numbers = ", ".join(f"{v:.6g}" for v in t.reshape(-1)[:8].tolist())
            print(f"  {' x '.join(map(str, t.shape))}  in [{t.min():.6g}, {t.max():.6g}]  starts {numbers}")
        return t

    with torch.no_grad():
        map_tensors(line, value)


def write_picture(evaluation: Any, step: Any, value: Any, path: Path) -> None:
    """A .png as the operator draws its value. Else the shape in the colours of a value per vertex: a mesh; or a picture, of
    up to nine columns."""
    data = evaluation.data
    if path.suffix == ".png" and (drawn := evaluation.picture(step, value)):
        return atomic.save(path, drawn)
    if not isinstance(value, torch.Tensor) or value.ndim > 2 or value.shape[:1] != (data.num_nodes,):
        raise CotanError(
            f"--out {path}: a {path.suffix} shows a value for each of {data.num_nodes} vertices, not "
            f"{step.name} ({shape_of(value)}); expected a file ending in .npz "
            + ("or .png, in which it is drawn" if step.definition and step.definition.picture else "(a record: .json)")
        )
    if path.suffix == ".png" and value.ndim == 2:
        if value.shape[1] > 9:
            print(f"drawn are the first 9 of {value.shape[1]} columns")
        value = {f"{step.name} {i}": column for i, column in enumerate(value.unbind(1)[:9])}
    draw(data, path, value) if path.suffix == ".png" else write(data, path, colors=value)


def another_ending(path: Path) -> CotanError:
    also = f"a value per vertex also {', '.join(COLORED)} or .png; a record .json"
    return CotanError(f"--out {path}: expected a file ending in .npz; {also}")


def write_numbers(value: Any, path: Path) -> None:
    if isinstance(value, dict):
        if path.suffix != ".json":
            raise CotanError(f"--out {path}: the value is a record, expected .json")
        return atomic.save(path, json.dumps(value, indent=2).encode())
    if path.suffix == ".json":
        raise CotanError(f"{another_ending(path)}; the value is no record")
    content = io.BytesIO()
    if isinstance(value, Sparse):
        scipy.sparse.save_npz(content, value.to_scipy())
        return atomic.save(path, content.getvalue())
    if isinstance(value, Spectrum):
        arrays = {"values": value.values, "vectors": value.vectors}
    elif is_named_tuple(value):
        arrays = value._asdict()
    else:
        arrays = {"value": value}
    for name, part in list(arrays.items()):
        if isinstance(part, Sparse):
            del arrays[name]
            arrays |= {f"{name}_row": part.row, f"{name}_col": part.col, f"{name}_values": part.values}
        elif not hasattr(part, "numpy"):
            raise CotanError(
                f"--out {path}: a {type(part).__name__} cannot be written; .npz takes tensors, matrices and tuples of them"
            )
    plain: dict[str, Any] = {name: numpy.asarray(v) for name, v in arrays.items()}
    numpy.savez(content, **plain)  # numpy before 2.2 knows no allow_pickle, and would write it as an array
    atomic.save(path, content.getvalue())
