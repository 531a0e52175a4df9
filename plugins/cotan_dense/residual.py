"""A block that learns what to add."""

from torch import Tensor, nn

import cotan
from cotan.dense import activation as activation_named


@cotan.layer("residual", invariant_to=("isometry", "scale"))
class Residual(nn.Module):
    """y = P x + W2 sigma(W1 x + b1) + b2 (He et al. 2016), P the identity where the widths agree.

    Arguments:
        width: of the hidden layer; `out_dim` by default.
        projection: learn P also where the widths agree; where they differ it is learned in any case.
        activation: sigma.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        width: int | None = None,
        projection: bool = False,
        activation: str = "relu",
    ):
        super().__init__()
        self.activation = activation_named(activation)
        width = out_dim if width is None else width
        if width < 1:
            raise cotan.CotanError(f"residual: width={width}, expected a positive whole number")
        self.first, self.second = nn.Linear(in_dim, width), nn.Linear(width, out_dim)
        projected = projection or in_dim != out_dim
        self.shortcut = nn.Linear(in_dim, out_dim, bias=False) if projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.activation(self.first(x)))
