"""The deep dense net."""

import torch
from torch import Tensor, nn

import cotan
from cotan.dense import activation as activation_named
from cotan.errors import at_least, one_of

RESIDUAL = ("none", "identity", "projection")


@cotan.model("mlp")
class MLP(nn.Module):
    """h_l = dropout(sigma(W_l h_{l-1} + b_l)), y = W h_depth + b.

    x is a signal on vertices (V, in_dim), or images (B, ...) of in_dim numbers each (with `features="image"`).

    Arguments:
        width, depth: hidden units of a layer, and number of hidden layers.
        activation: sigma. dropout: share of units silenced in training.
        residual: "identity" adds h_{l-1} to h_l where the widths agree; "projection" also P h_{l-1} where they differ.
        dense: each layer, and the last map, see all outputs before them side by side, [x, h_1, ..., h_{l-1}].
        readout: how vertices become a shape, for tasks per shape: mean, sum, max or attention.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        width: int = 256,
        depth: int = 3,
        activation: str = "relu",
        dropout: float = 0.0,
        residual: str = "none",
        dense: bool = False,
        readout: str = "mean",
    ):
        super().__init__()
        one_of("residual", residual, RESIDUAL)
        if dense and residual != "none":
            raise cotan.CotanError(f"dense=True with residual={residual!r}: choose one of the two")
        at_least(1, "mlp", width=width, depth=depth)
        self.activation = activation_named(activation)
        self.dense = dense

        def wide(layer: int) -> int:
            return in_dim + layer * width if dense else width if layer else in_dim

        self.layers = nn.ModuleList(cotan.Linear(wide(i), width) for i in range(depth))
        self.shortcuts = nn.ModuleList(_shortcut(wide(i), width, residual) for i in range(depth))
        self.dropout = cotan.Dropout(dropout)
        self.readout = cotan.Readout(in_dim + depth * width if dense else width, out_dim, task=task, kind=readout)

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer, shortcut in zip(self.layers, self.shortcuts, strict=True):
            new = self.dropout(self.activation(layer(h)))
            h = torch.cat([h, new], -1) if self.dense else new if shortcut is None else shortcut(h) + new
        return self.readout.linear(h) if x.ndim > 2 else self.readout(h, batch, ptr)  # an image is one row already


def _shortcut(in_dim: int, out_dim: int, residual: str) -> nn.Module | None:
    if residual != "none" and in_dim == out_dim:
        return nn.Identity()
    return cotan.Linear(in_dim, out_dim, bias=False) if residual == "projection" else None
