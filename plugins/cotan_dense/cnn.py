"""The convolutional net on grids."""

from itertools import pairwise

from torch import Tensor, nn

import cotan
from cotan.errors import at_least, one_of

from .conv import Conv1d, Conv2d, Conv3d
from .pooling import check_pooling, pool

CONV_LAYER = {1: Conv1d, 2: Conv2d, 3: Conv3d}
SIGNAL = {1: "sequence", 2: "image", 3: "volume"}


@cotan.model("cnn", signal="image", tasks=("classify", "regress"))
class CNN(nn.Module):
    """`depth` stages of `repeat` times relu(norm(w * x)), pooled between; the mean over the grid; a linear map.

    x is the data's `sequence` (B, in_dim, N), `image` (B, in_dim, H, W) or `volume` (B, in_dim, D, H, W), of any size.

    Arguments:
        dims: 1, 2 or 3, dimensions of the grid.
        width: channels of the first stage, doubled in each of the next. depth, repeat: stages, convolutions in each.
        kernel_size, padding: of the convolutions (see `conv2d`). residual: their shortcut.
        norm: "batch" or "none".
        pooling: max or mean. dropout: before the last map.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        dims: int = 2,
        width: int = 16,
        depth: int = 3,
        repeat: int = 2,
        kernel_size: int = 3,
        padding: str = "zeros",
        norm: str = "batch",
        residual: bool = False,
        pooling: str = "max",
        dropout: float = 0.0,
    ):
        super().__init__()
        if dims not in SIGNAL:
            raise cotan.CotanError(f"dims={dims!r}, expected 1 (a sequence), 2 (an image) or 3 (a volume)")
        at_least(1, "cnn", width=width, depth=depth, repeat=repeat)
        check_pooling(pooling)
        one_of("norm", norm, ("batch", "none"))
        self.signal, self.pooling = SIGNAL[dims], pooling
        options = {"kernel_size": kernel_size, "padding": padding, "batchnorm": norm == "batch", "shortcut": residual}
        self.stages = nn.ModuleList()
        for stage in range(depth):
            widths = [in_dim if stage == 0 else width << (stage - 1)] + [width << stage] * repeat
            layers = [CONV_LAYER[dims](a, b, **options) for a, b in pairwise(widths)]
            self.stages.append(nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU()))))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], out_dim))

    def forward(self, x: Tensor) -> Tensor:
        for i, stage in enumerate(self.stages):
            x = stage(pool(x, self.pooling) if i else x)
        return self.head(x.flatten(2).mean(2))
