"""The affine map."""

from torch import Tensor, nn

import cotan
from cotan.dense import activation as activation_named


@cotan.layer("linear", invariant_to=("isometry", "scale"))
class Linear(nn.Module):
    """y = sigma(W x + b) at each vertex; the affine map itself by default.

    Arguments:
        activation: sigma, as in `stack`; none by default.

    Shape: x (V, in_dim) -> (V, out_dim); any leading dimensions.
    """

    def __init__(self, in_dim: int, out_dim: int, *, activation: str = "none"):
        super().__init__()
        self.activation = activation_named(activation)
        self.affine = nn.Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.affine(x))
