"""The end of a dense model: a value per vertex, per shape, or per image."""

from torch import Tensor, nn

import cotan


class Head(nn.Module):
    """`cotan.Readout` for a signal on vertices; the same linear map for images that were flattened.

    Shape: h (V, in_dim) -> (V, out_dim) or (B, out_dim) by the task.
    """

    def __init__(self, in_dim: int, out_dim: int, task: str, kind: str):
        super().__init__()
        self.readout = cotan.Readout(in_dim, out_dim, task=task, kind=kind)

    def forward(self, h: Tensor, batch: Tensor, ptr: Tensor, flattened: bool) -> Tensor:
        return self.readout.linear(h) if flattened else self.readout(h, batch, ptr)


def flatten(x: Tensor) -> tuple[Tensor, bool]:
    """Images (B, C, H, W) and the like as (B, C H W), and whether x was that; a signal on vertices (V, C) as it is."""
    return (x.flatten(1), True) if x.ndim > 2 else (x, False)
