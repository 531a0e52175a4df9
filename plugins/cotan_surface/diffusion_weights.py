"""Weight files of DiffusionNet as its authors publish them."""

from collections.abc import Mapping

from torch import Tensor, nn

import cotan


def from_published(state: Mapping[str, Tensor], *, k: int = 128, ridge: float = 1e-5) -> nn.Module:
    """The `diffusion` model of a published state dict, task label: a score for each vertex and class.

    Published models that label faces give a face the mean of its vertices' scores. The features and the shape's
    size are those of the training: for the human bodies, positions scaled to radius 1.

    >>> model = from_published(torch.load("human_seg_xyz_4x128.pth", map_location="cpu", weights_only=True))
    """
    own: dict[str, Tensor] = {}
    for name, value in state.items():
        own[translated(name)] = value
    try:
        (width, in_dim), out_dim = own["lift.weight"].shape, len(own["readout.linear.weight"])
    except KeyError as missing:
        raise cotan.CotanError(
            f"expected a published DiffusionNet state dict, got one without {missing}: it has {', '.join(list(state)[:5])}"
        ) from None
    depth = sum(name.endswith(".time") for name in own)
    gradients = any(name.endswith(".real.weight") for name in own)
    model = cotan.create_model(
        "diffusion", in_dim, out_dim, task="label", width=width, depth=depth, k=k, ridge=ridge, gradients=gradients
    )
    model.load_state_dict(own)
    return model.eval()


def translated(name: str) -> str:
    """A parameter's published name as ours."""
    for theirs, ours in (("first_lin.", "lift."), ("last_lin.", "readout.linear.")):
        if name.startswith(theirs):
            return name.replace(theirs, ours)
    block, _, rest = name.partition(".")
    rest = rest.replace("diffusion.diffusion_time", "time")
    rest = rest.replace("gradient_features.A_re.", "real.").replace("gradient_features.A_im.", "imaginary.")
    if rest.startswith("mlp."):  # mlp.miniMLP_mlp_layer_001.weight; ours has relu and dropout between
        *_, layer, which = rest.split(".")
        rest = f"mlp.{3 * int(layer.rsplit('_', 1)[1])}.{which}"
    return f"blocks.{block.removeprefix('block_')}.{rest}"
