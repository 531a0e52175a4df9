"""Bad geometry, refused with one sentence. Each function gives back what it checked, in float64 and int64."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import CotanError
from ..sparse import check_edges as check_edges
from ..sparse import check_range

LARGEST = 1e70  # squared areas of what is larger are no float64


def check_pos(pos: Tensor, dim: int | None = 3, what: str = "pos") -> Tensor:
    """pos (V, 3) or, where `dim` says so, (V, D): finite."""
    check_shape(pos, dim, what)
    if not len(pos):
        raise CotanError(f"{what}: a shape without vertices")
    low, high = (float(bound) for bound in pos.detach().aminmax())
    if not (low > -LARGEST and high < LARGEST):
        bad = ~torch.isfinite(pos.detach()).all(1)
        if not bad.any():
            raise CotanError(
                f"{what}: coordinates up to {max(-low, high):.0e}, expected below {LARGEST:.0e}: scale the shape"
            )
        count, first = int(bad.sum()), int(bad.int().argmax())
        raise CotanError(f"{what}: {count} of {len(pos)} vertices are not finite, the first is number {first}")
    return pos.double()


def check_shape(pos: Tensor, dim: int | None = 3, what: str = "pos") -> None:
    """pos (V, 3) or, where `dim` says so, (V, D)."""
    if pos.ndim != 2 or pos.shape[1] != (dim or pos.shape[1]):
        plane = ": torch.nn.functional.pad(pos, (0, 1)) lays a plane in space" * (pos.shape[1:] == (2,))
        raise CotanError(f"{what}: expected shape (V, {dim or 'D'}), got {tuple(pos.shape)}{plane}")


def check_real(what: str, signal: Tensor) -> None:
    """Refuse complex numbers, of which a cast would drop the imaginary part."""
    if signal.is_complex():
        raise CotanError(
            f"{what}: expected real numbers, got {signal.dtype}: take the real and the imaginary part apart"
        )


def check_mesh(pos: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
    """pos (V, 3) finite, face (3, F) with F > 0 and vertex numbers from 0 to V - 1."""
    pos = check_pos(pos)
    return pos, check_face(face, len(pos))


def check_face(face: Tensor, num_nodes: int | None = None) -> Tensor:
    """face (3, F) with F > 0 and, where `num_nodes` is known, vertex numbers below it."""
    if face.ndim != 2 or face.shape[0] != 3:
        raise CotanError(f"face: expected shape (3, F), got {tuple(face.shape)}")
    if face.shape[1] == 0:
        raise CotanError("a mesh without faces: face has shape (3, 0); a point cloud has no attribute face")
    check_range("face", face, num_nodes)
    return face.long()
