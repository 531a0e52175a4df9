"""A block that learns what to add."""

from torch import Tensor, nn

import cotan
from cotan.dense import activation
from cotan.errors import at_least


@cotan.layer("residual", invariant_to=("isometry", "scale"))
class Residual(nn.Module):
    """y = P x + W2 sigma(W1 x + b1) + b2 (He et al. 2016), P the identity where the widths agree.

    Arguments:
        hidden: width of the hidden layer; `out_dim` by default.
        projection: learn P also where the widths agree; where they differ it is learned in any case.
        nonlinearity: sigma, an activation as in `stack`.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        hidden: int | None = None,
        projection: bool = False,
        nonlinearity: str = "relu",
    ):
        super().__init__()
        self.nonlinearity = activation(nonlinearity)
        hidden = out_dim if hidden is None else hidden
        at_least(1, "residual", hidden=hidden)
        self.first, self.second = nn.Linear(in_dim, hidden), nn.Linear(hidden, out_dim)
        projected = projection or in_dim != out_dim
        self.shortcut = nn.Linear(in_dim, out_dim, bias=False) if projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.nonlinearity(self.first(x)))
