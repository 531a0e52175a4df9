"""The operators: what is seen of a shape from all sides. The shape is put into the unit ball first."""

import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO

import torch
from torch import Tensor

import cotan

from .cameras import FOV, Rig, cameras
from .normalise import normalise
from .render import Raster, render
from .render import raster as rasterise
from .sheet import contact_sheet

cotan.source("color", per="vertex")
MAYBE_ZERO = {"color", "contours"}  # where the shape is seen


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
    fov: float = FOV,
    align: str = "none",
    size: int = 64,
) -> Raster:
    """Face (N, H, W), barycentric coordinates (N, H, W, 3) and depth (N, H, W) at the pixels' centres.

    Options as in `views`; where nothing is seen the face is -1 and the rest 0. Of faces equally near within rounding
    (2^-40) the lowest number counts: of copies always, of others in one plane unless the rounding of their corners, in
    float32 say, sets them further apart.
    """
    seen = cameras(rig, count=count, elevation=elevation, seed=seed, up=up, projection=projection, fov=fov)
    return Raster(*(value[0] for value in rasterise(normalise(pos, face, align), face, seen, size=size)))


def views_of_many(
    pos: Sequence[Tensor],
    face: Sequence[Tensor],
    color: Sequence[Tensor] | None = None,
    *,
    align: str,
    size: int,
    outputs: Sequence[str],
    samples: int,
    smooth: bool,
    softness: float,
    **of_cameras: Any,
) -> Sequence[Tensor]:
    """The views of each of several shapes, drawn at once."""
    seen = cameras(**of_cameras)
    number = [len(corners) for corners in pos]
    first = torch.tensor([0, *number]).cumsum(0)
    pictures = render(
        torch.cat([normalise(corners, faces, align) for corners, faces in zip(pos, face, strict=True)]),
        torch.cat([faces + offset for faces, offset in zip(face, first.tolist(), strict=False)], 1),
        seen,
        size=size,
        outputs=outputs,
        batch=torch.repeat_interleave(torch.tensor(number)).to(pos[0].device),
        color=torch.cat(list(color)) if color is not None and "color" in outputs else None,
        samples=samples,
        smooth=smooth,
        softness=softness,
    ).unbind()
    if not {*outputs} <= MAYBE_ZERO and not bool(torch.stack([picture.any() for picture in pictures]).all()):
        warnings.warn(
            f"views: a shape is so thin that it meets no pixel's centre, and its pictures at size={size} are empty; "
            "choose a larger size or more samples",
            cotan.MeshWarning,
            stacklevel=2,
        )
    return pictures


def _picture(file: BinaryIO, value: Tensor, *, outputs: Sequence[str], **_: Any) -> None:
    contact_sheet(value, file, outputs=outputs)


@cotan.operator(per="shape", invariant_to=("scale",), observable=_few_pixels, many=views_of_many, picture=_picture)
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
    fov: float = FOV,
    align: str = "none",
    size: int = 64,
    outputs: Sequence[str] = ("depth", "normals"),
    samples: int = 1,
    smooth: bool = False,
    softness: float = 0.0,
) -> Tensor:
    """Pictures (N, C, size, size) from N cameras, channels in the order of `outputs`, background 0.

    The shape is put into the unit ball, its surface's centre of mass at the origin, where the cameras look; those of a
    rig are so far away that the ball just fills the picture.

    Arguments:
        color: (V, K), for the output "color".
        rig: "ring" (Su et al., 2015), `count` cameras (None: 12), `elevation` degrees (None: 30) above the plane that
            `up` points out of; "dodecahedron", 20; "icosphere", `count` 12 (None), 42, 162 ...; "random", `count`
            (None: 12) by `seed` (None: 0); or the eyes, one (x, y, z) each.
        up: the axis that points up in the pictures.
        projection: "perspective", `fov` degrees from side to side, or "orthographic".
        align: "principal" turns the shape onto its principal axes, "none" does not.
        size: pixels along each side.
        outputs: some of "depth", the distance before the eye along the camera's axis; "normals": right, up, towards the
            viewer; "shaded", grey, by a lamp behind the viewer (Phong, 1975); "silhouette", 1 inside; "position", x, y,
            z in the ball; "color", that of the vertices; "contours", 1 on the lines of a drawing: borders, to the
            background or to what is more than 0.05 behind it, and creases of more than 40 degrees.
        samples: a pixel is the mean of samples x samples; for depth, normals and position of those that see the shape,
            lest its border come nearer. A pixel sees what is at its centre: of a wire thinner than a pixel nothing, or dots,
            unless there are samples enough. Where all pictures of a shape are empty, a `cotan.MeshWarning` says so when they
            are made.
        smooth: normals, and what is made of them, are interpolated between the vertices.
        softness: the pixels over which a silhouette fades out around the shape, so that gradients can move it; 0: none.

    `cotan_views.contact_sheet` writes them to a picture.
    """
    options = {name: value for name, value in locals().items() if name not in ("pos", "face", "color")}
    return views_of_many([pos], [face], None if color is None else [color], **options)[0]
