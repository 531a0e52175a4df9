"""The operators: what is seen of a shape from all sides. The shape is put into the unit ball first."""

from collections.abc import Sequence

from torch import Tensor

import cotan

from .cameras import Rig, cameras
from .normalise import normalise
from .render import Raster, render
from .render import raster as rasterise

cotan.source("color", per="vertex")


def _few_pixels(value: Tensor | Raster) -> Tensor:
    """Some pixels, for checks of derivatives: where an edge passes a pixel's centre, a picture jumps."""
    views = value.depth if isinstance(value, Raster) else value
    return views[..., 3::8, 3::8]


@cotan.operator(per="shape", invariant_to=("scale",), observable=_few_pixels)
def raster(
    pos: Tensor,
    face: Tensor,
    *,
    rig: Rig = "ring",
    count: int | None = None,
    elevation: float | None = None,
    seed: int | None = None,
    up: str = "z",
    projection: str = "perspective",
    fov: float = 60.0,
    align: str = "none",
    size: int = 64,
) -> Raster:
    """Face (N, H, W), barycentric coordinates (N, H, W, 3) and depth (N, H, W) at the pixels' centres.

    Cameras as in `cameras`, align as in `normalise`; where nothing is seen the face is -1 and the rest 0.
    """
    seen = cameras(rig, count=count, elevation=elevation, seed=seed, up=up, projection=projection, fov=fov)
    return Raster(*(value[0] for value in rasterise(normalise(pos, face, align), face, seen, size=size)))


@cotan.operator(per="shape", invariant_to=("scale",), observable=_few_pixels)
def views(
    pos: Tensor,
    face: Tensor,
    color: Tensor | None = None,
    *,
    rig: Rig = "ring",
    count: int | None = None,
    elevation: float | None = None,
    seed: int | None = None,
    up: str = "z",
    projection: str = "perspective",
    fov: float = 60.0,
    align: str = "none",
    size: int = 64,
    outputs: Sequence[str] = ("depth", "normals"),
    samples: int = 1,
    smooth: bool = False,
    softness: float = 0.0,
) -> Tensor:
    """Pictures (N, C, size, size) from N cameras, channels in the order of `outputs`, background 0.

    Cameras as in `cameras`, align as in `normalise`, channels and the other options as in `render`.
    """
    seen = cameras(rig, count=count, elevation=elevation, seed=seed, up=up, projection=projection, fov=fov)
    return render(
        normalise(pos, face, align),
        face,
        seen,
        size=size,
        outputs=outputs,
        color=color if "color" in outputs else None,
        samples=samples,
        smooth=smooth,
        softness=softness,
    )[0]
