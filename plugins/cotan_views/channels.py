"""The channels of a picture. Each function gives planes (pixels,), one a channel, background 0."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

import cotan
from cotan.autodiff import is_live
from cotan.errors import one_of

from .cameras import turn
from .contours import lines
from .pictures import Pictures
from .shading import face_normals, flat_normals, outward, phong, towards, vertex_normals
from .soft import soft_silhouette

Planes = Iterable[Tensor]


def depth(pictures: Pictures) -> Planes:
    """Distance before the eye, along the camera's axis."""
    if is_live(pictures.seen):
        return pictures.paint(pictures.mean(pictures.seen[2:]))
    near, far = pictures.near, pictures.far
    if pictures.scene.cameras.perspective:
        return (near.reciprocal().nan_to_num_(posinf=0),)
    value = (far.unsqueeze(1) - near.view(len(far), -1)).view(-1)
    return (value.masked_fill_(near == 0, 0),)


def normals(pictures: Pictures) -> Planes:
    """Unit normals: right, up and towards the viewer."""
    return _of_normals(pictures, lambda normal: normal)


def shaded(pictures: Pictures) -> Planes:
    """The light of a lamp behind the viewer on a grey surface."""
    return _of_normals(pictures, lambda normal: phong(normal).unsqueeze(0))


def silhouette(pictures: Pictures) -> Planes:
    """1 where the shape is."""
    if pictures.softness:
        return (soft_silhouette(pictures),)
    return ((pictures.near > 0).to(pictures.near.dtype),)


def position(pictures: Pictures) -> Planes:
    """x, y, z of the point seen."""
    return pictures.paint(pictures.mean(pictures.scene.pos.T))


def color(pictures: Pictures) -> Planes:
    """The colour (or any signal) of the vertices."""
    return pictures.paint(pictures.mean(pictures.scene.color.T))


def contours(pictures: Pictures) -> Planes:
    """1 on the lines that a person would draw."""
    with torch.no_grad():
        n, size, cameras = len(pictures.far), pictures.size, pictures.scene.cameras
        far, *planes = (plane.view(n, size, size) for plane in (*depth(pictures), *normals(pictures)))
        normal = torch.stack(planes, 1)
        # As rays have them: the same, but for axes that are scaled and sheared, or a focal length that is a tensor.
        own = outward(cameras) @ torch.linalg.inv_ex(cameras.axes).inverse
        slope = torch.einsum("nij,bnihw->bnjhw", own.to(normal), normal.view(-1, len(own), 3, size, size)).reshape(
            normal.shape
        )
        slope[:, 2] *= -1
        return (lines(far, normal, slope, pictures.ray, cameras.perspective).flatten(),)


CHANNELS: dict[str, Callable[[Pictures], Planes]] = {
    f.__name__: f for f in (depth, normals, shaded, silhouette, position, color, contours)
}
WIDTHS = {"depth": 1, "normals": 3, "shaded": 1, "silhouette": 1, "position": 3, "contours": 1}


def width(outputs: Sequence[str], colors: int | None = None) -> int:
    """The number of channels, where the vertices' colours have so many (None: there are none)."""
    widths = WIDTHS if colors is None else WIDTHS | {"color": colors}
    if isinstance(outputs, str) or not outputs:
        raise cotan.CotanError(f"outputs is a list of one or more of {', '.join(CHANNELS)}; got {outputs!r}")
    for name in outputs:
        one_of("output", name, CHANNELS)
        if name not in widths:
            raise cotan.CotanError("the output 'color' needs colours of the vertices, and here are none")
    return sum(widths[name] for name in outputs)


def _of_normals(pictures: Pictures, planes: Callable[[Tensor], Tensor]) -> Planes:
    """(K, ...) from unit normals (3, ...): of the points seen where they are smooth, else of the faces."""
    if pictures.smooth:
        return pictures.paint(planes(_smooth_normals(pictures)))
    scene = pictures.scene
    return pictures.paint_faces(planes(flat_normals(scene.pos, scene.face, scene.cameras)).flatten(1))


def _smooth_normals(pictures: Pictures) -> Tensor:
    """(3, P) interpolated between the vertices, towards the viewer by the side of the face that is seen."""
    scene = pictures.scene
    of_vertices = turn(outward(scene.cameras), vertex_normals(scene.pos, scene.face))
    normal = normalize(pictures.mean(of_vertices), dim=0, eps=1e-300)
    pos = scene.pos.detach()
    side = towards(face_normals(pos, scene.face), pos, scene.face, scene.cameras).view(-1)
    return normal * side.index_select(0, pictures.hit)
