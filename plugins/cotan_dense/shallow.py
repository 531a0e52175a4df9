"""One hidden layer."""

from torch import Tensor, nn

import cotan
from cotan.errors import at_least

from .ridge import Ridge


@cotan.model("shallow")
class Shallow(nn.Module):
    """y = V sigma(W x + b) + c: a linear combination of `width` ridge functions.

    Enough for any continuous function on a compact set, if it is wide enough and sigma no polynomial (see `ridge`). x is a
    signal on vertices (V, in_dim), or images (B, ...) of in_dim numbers each (with `features="image"`).

    Arguments:
        width: hidden units. activation: sigma.
        readout: how vertices become a shape, for tasks per shape: mean, sum, max or attention.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        width: int = 64,
        activation: str = "sigmoid",
        readout: str = "mean",
    ):
        super().__init__()
        at_least(1, "shallow", width=width)
        self.hidden = Ridge(in_dim, width, nonlinearity=activation)
        self.readout = cotan.Readout(width, out_dim, task=task, kind=readout)

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor) -> Tensor:
        h = self.hidden(x.flatten(1))
        return self.readout.linear(h) if x.ndim > 2 else self.readout(h, batch, ptr)  # an image is one row already
