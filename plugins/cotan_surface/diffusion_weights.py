"""Weight files of DiffusionNet as its authors publish them."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

import cotan


def from_published(state: Mapping[str, Tensor], *, k: int = 128, ridge: float = 1e-5) -> nn.Module:
    """The `diffusion` model of a published state dict, task label: a score for each vertex and class.

    Published models that label faces give a face the mean of its vertices' scores. Shapes are taken at radius 1, as in their
    training. Of positions, three channels, the model asks itself, about the vertices' mean; other features are the data's x.

    >>> model = from_published(torch.load("human_seg_xyz_4x128.pth", map_location="cpu", weights_only=True))
    """
    ends = ("first_lin.weight", "last_lin.weight")
    if not isinstance(state, Mapping) or not all(name in state for name in ends):
        got = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        raise cotan.CotanError(
            f"expected a published DiffusionNet state dict, with {' and '.join(ends)}, got {got or 'an empty one'}"
        )
    own = {translated(name): value for name, value in state.items()}
    (width, in_dim), out_dim = own["lift.weight"].shape, len(own["readout.linear.weight"])
    depth = sum(name.endswith(".time") for name in own)
    gradients = any(name.endswith(".real.weight") for name in own)
    options = {"width": width, "depth": depth, "k": k, "ridge": ridge, "gradients": gradients, "scale": "radius"}
    features = cotan.node("normalized_pos", centre="vertices") if in_dim == 3 else None
    model = cotan.create_model("diffusion", in_dim, out_dim, task="label", features=features, **options)
    try:
        model.load_state_dict(own)
    except RuntimeError as reason:  # its first line says only that there is one
        raise cotan.CotanError(
            f"a state dict of another network than `diffusion` of {depth} blocks of {width}: "
            + " ".join(line.strip() for line in str(reason).splitlines()[1:3])
        ) from None
    return model.eval()


def translated(name: str) -> str:
    """A parameter's published name as ours."""
    for theirs, ours in (("first_lin.", "lift."), ("last_lin.", "readout.linear.")):
        if name.startswith(theirs):
            return name.replace(theirs, ours)
    block, _, rest = name.partition(".")
    rest = rest.replace("diffusion.diffusion_time", "time")
    rest = rest.replace("gradient_features.A_re.", "real.").replace("gradient_features.A_im.", "imaginary.")
    # Ours has relu and dropout between.
    rest = re.sub(r"mlp\.miniMLP_mlp_layer_(\d+)", lambda layer: f"mlp.{3 * int(layer[1])}", rest)
    return f"blocks.{block.removeprefix('block_')}.{rest}"
