"""Three-dimensional convolution on voxels."""

from torch import Tensor, nn

import cotan
from cotan.errors import at_least

from .turn import angle, turned
from .voxels import request


class VoxelBlock(nn.Module):
    r"""y = relu(s(x) + norm(K2 * relu(norm(K1 * x)))), halving the grid where `stride` is 2; s is 1 or a projection.

    Without `residual` the sum is left out: two plain convolutions.
    """

    def __init__(self, in_dim: int, out_dim: int, *, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv3d(in_dim, out_dim, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv3d(out_dim, out_dim, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm3d(out_dim), nn.BatchNorm3d(out_dim)
        plain = in_dim == out_dim and stride == 1
        skip = nn.Identity() if plain else nn.Conv3d(in_dim, out_dim, 1, stride=stride, bias=False)
        self.skip = skip if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.second(self.norm1(self.first(x)).relu()))
        return (y if self.skip is None else y + self.skip(x)).relu()


@cotan.model("voxel", tasks=("classify", "regress"))
class Voxel(nn.Module):
    """A network on voxels in the manner of VoxNet (Maturana and Scherer 2015).

    Arguments:
        resolution, fill, method, normalize, padding: the voxels it asks for (see `voxels`).
        width: channels after the first convolution (5^3, stride 2), doubled each time the grid is halved, down to 4^3.
        residual: add the input of each block to its output; without, plain convolutions.
        turn: in training, each grid is turned by a random small rotation, up to about this angle (radians).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        resolution: int = 32,
        fill: str = "solid",
        method: str = "auto",
        normalize: str = "box",
        padding: float = 1.0,
        width: int = 24,
        residual: bool = True,
        turn: float = 0.25,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        options = {"resolution": resolution, "fill": fill, "method": method, "normalize": normalize, "padding": padding}
        self.needs = {"voxels": request(**options)}
        at_least(8, "voxel", resolution=resolution)
        at_least(1, "voxel", width=width)
        self.turn = angle(turn)
        self.stem = nn.Sequential(nn.Conv3d(1, width, 5, stride=2, padding=2), nn.BatchNorm3d(width), nn.ReLU())
        blocks, side = [VoxelBlock(width, width, residual=residual)], (resolution + 1) // 2
        while side > 4:
            blocks.append(VoxelBlock(width, 2 * width, stride=2, residual=residual))
            width, side = 2 * width, (side + 1) // 2
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, out_dim))

    def forward(self, voxels: Tensor) -> Tensor:
        if self.training and self.turn:
            voxels = turned(voxels, self.turn)
        y = self.blocks(self.stem(voxels[:, None]))  # (B, C, r, r, r)
        return self.head(y.mean((2, 3, 4)))
