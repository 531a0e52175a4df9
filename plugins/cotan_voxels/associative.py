"""The top machine of a deep belief network, which ties what the layers see to the label."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .dbn import VoxelDBN
from .layerwise import Batches, fade, start
from .rbm import DenseRBM, contrastive_loss


def top_machine(model: VoxelDBN, batches: Batches, epochs: int, lr: float, noise: float) -> list[float]:
    """Train the top machine by persistent contrastive divergence.

    There are as many chains of each label, which they keep, so that rare classes learn to make shapes too. Every ten
    epochs the shapes are turned anew and seen by the layers below. A share `noise` of what these see is flipped: shapes
    are then wide valleys of the energy, which chains find and leave again, instead of narrow pits. With noise there are
    many quick updates, for samples; without it fewer and more exact ones, for classes.

    Returns: the error of each epoch.
    """
    size, steps, lr = (20, 1, lr) if noise else (50, 5, lr / 3)
    machine, classes = model.top, model.classes
    optimiser = torch.optim.Adam(machine.parameters(), lr, betas=(0.5, 0.999))
    history: list[float] = []
    chain = torch.zeros(0)
    for epoch in range(epochs):
        fade(optimiser, lr, epoch, epochs)
        if epoch % 10 == 0:
            with torch.no_grad():
                pairs = [(model.up(shapes), functional.one_hot(y, classes)) for shapes, y in batches()]
                clean = torch.cat([torch.cat([p, y.to(p)], 1) for p, y in pairs])
                seen = clean.clone()
                seen[:, :-classes] = noise + (1 - 2 * noise) * clean[:, :-classes]
        if epoch == 0:
            start(machine, [seen], 0)
            nn.init.normal_(machine.weight, std=0.01)  # large random ones are modes that the chains would have to leave
            held = functional.one_hot(torch.arange(max(100, classes)) % classes, classes).to(seen)
            chain = torch.cat([torch.bernoulli(seen[torch.randint(len(seen), (len(held),)), :-classes]), held], 1)
        errors = []
        share = seen[:, -classes:].mean(0)
        for pick in torch.multinomial(seen[:, -classes:] @ (1 / share.clamp(min=1e-9)), len(seen), True).split(size):
            v = torch.bernoulli(seen[pick])
            loss, chain = contrastive_loss(machine, v, chain, steps=steps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                errors.append(float((v - machine.down(machine.up(v))).abs().mean()))
        history.append(sum(errors) / len(errors))
    if epochs:
        _balance(machine, clean)
    return history


@torch.no_grad()
def _balance(machine: DenseRBM, seen: Tensor, *, rounds: int = 100) -> None:
    """Set the biases of the labels, which chains that keep theirs do not teach: each is expected as often as it is seen.

    One that is never seen is expected once in a billion: never would be a bias of minus infinity.
    """
    rest, share = seen[:, : -machine.classes], seen[:, -machine.classes :].mean(0).clamp(min=1e-9)
    for _ in range(rounds):
        expected = machine.label_scores(rest).softmax(1).mean(0).clamp(min=1e-9)
        step = (share / expected).clamp(1e-2, 1e2).log()
        machine.visible[-machine.classes :] += step / machine.counts[-1]
