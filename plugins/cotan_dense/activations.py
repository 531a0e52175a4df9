"""The functions between the affine maps, by name."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import cotan


def step(x: Tensor) -> Tensor:
    """1 where x >= 0, else 0. Its gradient is zero everywhere, so nothing before it learns: for demonstration."""
    return (torch.sign(torch.sign(x) + 0.5) + 1) / 2  # of signs, since they have derivatives (zeros) in both modes


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": nn.Identity(),
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "step": step,
    "softmax": partial(torch.softmax, dim=-1),  # over the channels of a vertex
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """One of linear, relu, sigmoid, tanh, step and softmax."""
    if name not in ACTIVATIONS:
        raise cotan.CotanError(f"unknown activation {name!r}. There is: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
