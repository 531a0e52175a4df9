"""All layers of a deep belief network together, trained to bring voxels back."""

import torch
from torch.nn import functional

from .dbn import VoxelDBN
from .layerwise import Batches, fade


def all_layers(model: VoxelDBN, batches: Batches, epochs: int, lr: float, noise: float) -> list[float]:
    """Train all layers to bring voxels back from a draw of the last layer's units (Hinton and Salakhutdinov 2006).

    Layers trained one by one lose a little each. 3D ShapeNets mends that by the wake-sleep algorithm; this is simpler: the
    weights stay the same up and down, and the gradient passes through the draw as if it were the probability. A share
    `noise` of the drawn units is flipped, so that shapes come back whole from units that the top machine gets nearly right.

    Returns: the error of each epoch.
    """
    optimiser = torch.optim.Adam(model.layers.parameters(), lr)
    history = []
    for epoch in range(epochs):
        fade(optimiser, lr, epoch, epochs)
        errors = []
        for shapes, _ in batches():
            p = model.up(shapes)
            drawn = torch.bernoulli(p)
            if noise:
                drawn = (drawn - torch.bernoulli(torch.full_like(p, noise))).abs()
            h = p + (drawn - p).detach()
            loss = functional.binary_cross_entropy(model.down(h).clamp(1e-6, 1 - 1e-6), shapes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            errors.append(loss.item())
        history.append(sum(errors) / len(errors))
    return history
