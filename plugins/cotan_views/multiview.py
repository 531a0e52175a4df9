"""A network that looks at a shape from many sides."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least

from .backbone import backbone
from .cameras import FOV, Rig
from .views import views as draw


@cotan.model("multiview", tasks=("classify", "regress"))
class MultiView(nn.Module):
    """y = W pool_n f(v_n): one convolutional network f for all views, pooled over them (MVCNN, Su et al. 2015).

    Arguments:
        rig to softness: the views it asks for (see the operator `views`, whose `seed` stays 0); "color" is three channels.
        pooling: "max" or "mean" over the views, or "attention": the mean weighted by softmax_n a(f(v_n)).
        cnn: "compact", or the name of a network of timm or torchvision, if one of them is installed, with its `weights`
            (a file of its state, which the user has); channels are first mixed to the three that it expects.
        view_dropout: the share of the views that a training step leaves out, so that it learns not to rely on any one.
        width: channels of the compact network's first stage, doubled in each of the following three.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        rig: Rig = "ring",
        count: int | None = None,
        elevation: float | None = None,
        up: str = "z",
        projection: str = "perspective",
        fov: float = FOV,
        align: str = "none",
        size: int = 64,
        outputs: Sequence[str] = ("depth", "normals"),
        samples: int = 1,
        smooth: bool = False,
        softness: float = 0.0,
        pooling: str = "max",
        cnn: str = "compact",
        weights: str | None = None,
        width: int = 16,
        view_dropout: float = 0.5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if task not in ("classify", "regress"):
            raise cotan.CotanError(f"multiview can classify or regress whole shapes; got the task {task!r}")
        if pooling not in ("max", "mean", "attention"):
            raise cotan.CotanError(f"pooling is 'max', 'mean' or 'attention'; got {pooling!r}")
        if not 0 <= view_dropout < 1:
            raise cotan.CotanError(f"view_dropout is a share from 0 to below 1; got {view_dropout!r}")
        asked: dict[str, Any] = dict(rig=rig, count=count, elevation=elevation, up=up, projection=projection, fov=fov)
        asked |= dict(align=align, size=size, outputs=outputs, samples=samples, smooth=smooth, softness=softness)
        at_least(1, "multiview", width=width, size=size, samples=samples)
        with torch.device("cpu"):  # a triangle in one pixel, so that what cannot be drawn is refused now
            one = dict(asked, size=1, samples=1)
            example = draw(torch.eye(3), torch.arange(3).unsqueeze(1), torch.zeros(3, 3), **one)
        self.needs = {"views": cotan.node("views", **asked)}
        self.channels = example.shape[1]
        self.cnn, features = backbone(cnn, self.channels, size, width, weights)
        self.pooling, self.view_dropout = pooling, view_dropout
        self.score = nn.Linear(features, 1) if pooling == "attention" else None
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, out_dim))

    def forward(self, views: Tensor) -> Tensor:
        return self.head(self.descriptor(views))

    def descriptor(self, views: Tensor) -> Tensor:
        """(B, D) of shapes seen in views (B, N, C, H, W); N may be one, for a sketch."""
        if views.dim() != 5 or views.shape[2] != self.channels:
            raise cotan.CotanError(
                f"multiview sees views (B, N, C, H, W) of C = {self.channels} channels; got shape {tuple(views.shape)}"
            )
        if self.training and self.view_dropout:
            kept = max(1, round(views.shape[1] * (1 - self.view_dropout)))
            views = views[:, torch.randperm(views.shape[1], device=views.device)[:kept]]
        feature = self.cnn(views.flatten(0, 1)).view(*views.shape[:2], -1)  # (B, N, D)
        if self.score is not None:
            return (feature * self.score(feature).softmax(1)).sum(1)
        return feature.amax(1) if self.pooling == "max" else feature.mean(1)
