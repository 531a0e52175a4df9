"""The affine map."""

from torch import Tensor, nn

import cotan
from cotan.dense import activation


@cotan.layer("linear", invariant_to=("isometry", "scale"))
class Linear(nn.Module):
    """y = sigma(W x + b) at each vertex; the affine map itself by default.

    Arguments:
        nonlinearity: sigma: none, or an activation as in `stack`.

    Shape: x (V, in_dim) -> (V, out_dim); any leading dimensions.
    """

    def __init__(self, in_dim: int, out_dim: int, *, nonlinearity: str = "none"):
        super().__init__()
        self.nonlinearity = activation(nonlinearity)
        self.affine = nn.Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinearity(self.affine(x))
