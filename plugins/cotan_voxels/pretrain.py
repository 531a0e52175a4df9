"""Training a deep belief network layer by layer, before it is trained for its classes."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

import cotan
from cotan.errors import at_least, said

from .associative import top_machine
from .dbn import VoxelDBN
from .layerwise import one_layer
from .together import all_layers


def pretrain(
    model: VoxelDBN,
    voxels: Tensor,
    label: Tensor,
    *,
    epochs: int = 20,
    together: int | None = None,
    top: int | None = None,
    batch_size: int = 32,
    lr: float = 3e-3,
    steps: int = 1,
    persistent: bool = False,
    sparsity: float = 0.1,
    noise: float = 0.1,
    seed: int = 0,
    say: Callable[[str], object] | None = None,
) -> list[list[float]]:
    """Contrastive divergence for each layer in turn, then all layers together, then the top machine.

    Arguments:
        voxels (N, R, R, R), label (N,): the training shapes. The label is a part of what the top machine learns.
        epochs: of each layer; together: those in which all layers learn to bring voxels back (`epochs`); top: of the
            top machine (ten times `epochs`).
        steps: of Gibbs sampling for each update; persistent: the chains go on between updates (PCD). Those of the top
            machine always do.
        sparsity: how often the units of the convolutions should be on (Lee et al. 2009); 0 leaves them free.
        noise: the share of units of the last layer that are turned over while all layers learn to bring voxels back, and
            in what the top machine sees: for samples. Without it the top machine learns slower, for classes, as in `fit`.
        say: called with a line for each stage.

    Gives errors by stage and epoch: of a layer and of the top machine, the mean distance of its input from what one
    step up and down makes of it; of all layers together (last but one), the cross entropy of the voxels.
    """
    if not isinstance(model, VoxelDBN):
        raise cotan.CotanError(f"pretrain is for a voxel-dbn; got {type(model).__name__}")
    side = model.layers[0].visible.shape[-1]
    right = isinstance(voxels, Tensor) and isinstance(label, Tensor) and label.dtype == torch.int64
    needs = f"pretrain needs voxels (N, {side}, {side}, {side}) and N labels from 0 to {model.classes - 1}"
    if not right or not len(label) or voxels.shape != (len(label), side, side, side):
        raise cotan.CotanError(f"{needs}, int64, of one or more shapes; got {said(voxels)} and {said(label)}")
    if ((label < 0) | (label >= model.classes)).any() or not ((voxels >= 0) & (voxels <= 1)).all():
        raise cotan.CotanError(
            f"{needs}, all voxels from 0 to 1; got labels from {int(label.min())} to {int(label.max())}, "
            f"voxels from {float(voxels.min())} to {float(voxels.max())}"
        )
    at_least(0, "pretrain", epochs=epochs, together=together or 0, top=top or 0)
    at_least(1, "pretrain", batch_size=batch_size, steps=steps)
    for name, value, most in (("sparsity", sparsity, 1), ("noise", noise, 0.5)):
        if not 0 <= value < most:
            raise cotan.CotanError(f"{name} is a share from 0 to below {most}; got {value!r}")
    weight = model.top.weight

    def batches() -> Iterable[tuple[Tensor, Tensor]]:
        for pick in torch.randperm(len(voxels)).split(batch_size):
            yield model.moved(voxels[pick].to(weight)), label[pick].to(weight.device)

    history: list[list[float]] = []

    def done(stage: str, errors: list[float]) -> None:
        history.append(errors)
        if say is not None and errors:
            say(f"{stage}: error {errors[0]:.4f}, then {errors[-1]:.4f}")

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for number in range(len(model.layers)):
            done(f"layer {number + 1}", one_layer(model, number, batches, epochs, lr, steps, persistent, sparsity))
        done("all layers", all_layers(model, batches, epochs if together is None else together, lr, noise))
        done("top machine", top_machine(model, batches, 10 * epochs if top is None else top, lr, noise))
    return history
