"""Convolutions on grids of one, two and three dimensions."""

from torch import Tensor, nn

import cotan
from cotan.errors import one_of

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
PADDINGS = ("zeros", "circular", "reflect", "replicate", "none")


class Conv(nn.Module):
    """y = norm(w * x + b), plus P x with `shortcut`: a convolution.

    The filter w is the same everywhere: a shift of x gives the same shift of y, exactly so with padding "circular".
    As in torch, w * x is the correlation: w is not flipped.

    Arguments:
        kernel_size: odd, so that the output has the grid of the input.
        padding: what is beyond the border: zeros, circular, reflect or replicate; "none" shrinks the grid.
        batchnorm: batch normalisation after the convolution.
        shortcut: add P x, P the identity where the widths agree and learned where not. Not with padding "none".

    Shape: x (B, in_dim, ...) -> (B, out_dim, ...).
    """

    dims = 2

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        kernel_size: int = 3,
        padding: str = "zeros",
        batchnorm: bool = False,
        shortcut: bool = False,
    ):
        super().__init__()
        one_of("padding", padding, PADDINGS)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise cotan.CotanError(f"kernel_size={kernel_size}, expected an odd number")
        if shortcut and padding == "none" and kernel_size > 1:
            raise cotan.CotanError("shortcut=True needs a padding: without one the output has a smaller grid")
        mode = {"padding": 0} if padding == "none" else {"padding": kernel_size // 2, "padding_mode": padding}
        self.conv = CONV[self.dims](in_dim, out_dim, kernel_size, bias=not batchnorm, **mode)
        self.norm = NORM[self.dims](out_dim) if batchnorm else nn.Identity()
        projected = shortcut and in_dim != out_dim
        projection = CONV[self.dims](in_dim, out_dim, 1, bias=False) if projected else nn.Identity()
        self.shortcut = projection if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return y if self.shortcut is None else self.shortcut(x) + y


@cotan.layer("conv1d", signal="sequence")
class Conv1d(Conv):
    __doc__ = Conv.__doc__
    dims = 1


@cotan.layer("conv2d", signal="image")
class Conv2d(Conv):
    __doc__ = Conv.__doc__
    dims = 2


@cotan.layer("conv3d", signal="volume")
class Conv3d(Conv):
    __doc__ = Conv.__doc__
    dims = 3
