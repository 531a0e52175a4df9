"""A block whose layers see the outputs of all layers before them."""

import torch
from torch import Tensor, nn

import cotan
from cotan.dense import activation
from cotan.errors import at_least


@cotan.layer("dense-block", invariant_to=("isometry", "scale"))
class DenseBlock(nn.Module):
    """h_l = sigma(W_l [x, h_1, ..., h_{l-1}] + b_l), y = W [x, h_1, ..., h_L] + b (Huang et al. 2017).

    Arguments:
        layers: L. growth: channels of each h_l; `out_dim` by default.
        nonlinearity: sigma, an activation as in `stack`.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, layers: int = 2, growth: int | None = None, nonlinearity: str = "relu"
    ):
        super().__init__()
        self.nonlinearity = activation(nonlinearity)
        growth = out_dim if growth is None else growth
        at_least(1, "dense-block", layers=layers, growth=growth)
        self.layers = nn.ModuleList(nn.Linear(in_dim + i * growth, growth) for i in range(layers))
        self.transition = nn.Linear(in_dim + layers * growth, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, self.nonlinearity(layer(x))], -1)
        return self.transition(x)
