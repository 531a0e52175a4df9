"""Networks that turn a picture into a vector."""

import importlib.util

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import silu

import cotan


class Block(nn.Module):
    """y = g(s(x) + norm(K2 * g(norm(K1 * x)))), with s a projection where the size or the channels change.

    g(t) = t sigmoid(t), not relu, which has no derivative at zero: and an empty background is exactly zero.

    Shape: x (B, in_dim, H, W) -> (B, out_dim, H / stride, W / stride).
    """

    def __init__(self, in_dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_dim, out_dim, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(out_dim), nn.BatchNorm2d(out_dim)
        same = in_dim == out_dim and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(in_dim, out_dim, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return silu(self.skip(x) + self.norm2(self.second(silu(self.norm1(self.first(x))))))


class Compact(nn.Sequential):
    """Four stages that halve the picture and double the channels, then the mean over what is left of it."""

    def __init__(self, channels: int, width: int) -> None:
        stages = [Block(width * 2**k, width * 2 ** (k + 1), 2) for k in range(3)]
        super().__init__(
            nn.BatchNorm2d(channels),  # depth and normals have different scales
            nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            Block(width, width, 1),
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


def backbone(name: str, channels: int, size: int, width: int, weights: str | None) -> tuple[nn.Module, int]:
    """A network from pictures (M, channels, size, size) to (M, D), and D."""
    if name == "compact":
        if weights is not None:
            raise cotan.CotanError("weights are those of a network of timm or torchvision; 'compact' has none to load")
        return Compact(channels, width), 8 * width
    network = nn.Sequential(nn.Conv2d(channels, 3, 1), _outside(name, weights), nn.Flatten())
    try:
        with torch.no_grad():
            features = network.eval()(torch.zeros(1, channels, size, size)).shape[1]
    except (AssertionError, RuntimeError) as reason:  # some take one size alone, or no less than some
        raise cotan.CotanError(f"the cnn {name!r} does not take pictures of {size} x {size}: {reason}") from reason
    return network.train(), features


def _outside(name: str, weights: str | None) -> nn.Module:
    """A network of timm, or else of torchvision, without its last layer."""
    if importlib.util.find_spec("timm") is not None:
        import timm

        if timm.is_model(name):
            return _headless(timm.create_model(name, pretrained=False), weights)
    if importlib.util.find_spec("torchvision") is not None:
        from torchvision import models

        # Only those that classify: others, in modules of their own, would download the weights of a part.
        if name in models.list_models(module=models):
            return _headless(models.get_model(name, weights=None), weights)
    raise cotan.CotanError(
        f"unknown cnn {name!r}: there is 'compact'; networks of timm and torchvision are there by their names "
        "where one of these is installed"
    )


def _headless(network: nn.Module, weights: str | None) -> nn.Module:
    """The network with its state loaded and what comes after its features taken away."""
    if weights is not None:
        try:
            if weights.endswith(".safetensors"):
                state = load_file(weights)
            else:
                state = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as reason:  # a damaged file raises anything
            raise cotan.CotanError(f"the weights {weights} cannot be read: {reason}") from reason
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise cotan.CotanError(f"the weights in {weights} are not those of this cnn: {error}") from error
    if hasattr(network, "reset_classifier"):  # timm
        network.reset_classifier(0)
        return network
    for head in ("fc", "classifier", "heads", "head"):
        if isinstance(getattr(network, head, None), nn.Module):
            setattr(network, head, nn.Identity())
            return network
    raise cotan.CotanError("this cnn has no fc, classifier, heads or head to take away")
