"""What each pixel sees of a scene: its face, the point in it, and what is painted there."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .cameras import Cameras
from .project import project, to_camera
from .rasterise import nearest
from .shading import barycentric


class Scene(NamedTuple):
    """B shapes seen by N cameras."""

    pos: Tensor  # (V, 3)
    face: Tensor  # (3, F)
    batch: Tensor  # (V,)
    color: Tensor | None  # (V, K)
    shapes: int
    cameras: Cameras


class Pictures:
    """B * N pictures of a scene; that of shape b from camera n is number b * N + n.

    Which face a pixel sees is found at once, and is fixed; everything else is differentiable in the positions.

    Arguments:
        size: pixels along each side. budget: triangles and pixels worked on at once. dtype: of the pictures.
        smooth: normals are interpolated between vertices. softness: pixels over which the silhouette fades out.

    Attributes:
        seen: (3, N, V) the vertices in the cameras' coordinates.
        label: (pixels,) the face seen, as n * F + f, int32. near: (pixels,) 0 where nothing is seen; far: (B * N,): see
            `project`.
    """

    def __init__(
        self,
        scene: Scene,
        size: int,
        budget: int,
        dtype: torch.dtype = torch.float64,
        smooth: bool = False,
        softness: float = 0.0,
    ) -> None:
        self.scene, self.size, self.budget, self.dtype = scene, size, budget, dtype
        self.smooth, self.softness = smooth, softness
        self.seen = to_camera(scene.pos, scene.cameras)
        with torch.no_grad():
            triangles, self.far = project(self.seen, scene.face, scene.batch, scene.shapes, scene.cameras, size)
            self.label, self.near = nearest(triangles, len(self.far), size, budget)

    @cached_property
    def covered(self) -> Tensor:
        """(P,) the pixels that see something."""
        return self.near.nonzero().squeeze(1)

    @cached_property
    def hit(self) -> Tensor:
        """(P,) what they see: n * F + f."""
        return self.label.index_select(0, self.covered).long()

    @cached_property
    def face(self) -> Tensor:
        return self.hit % self.scene.face.shape[1]

    @cached_property
    def view(self) -> Tensor:
        return self.hit.div(self.scene.face.shape[1], rounding_mode="floor")

    @cached_property
    def ray(self) -> Tensor:
        """(H,) how far to the right the rays of the columns are, one unit before the eye; those of the rows, down."""
        column = torch.arange(self.size, dtype=self.seen.dtype, device=self.seen.device)
        return (column - (self.size - 1) / 2) / (self.scene.cameras.focal * self.size / 2)

    @cached_property
    def weight(self) -> Tensor:
        """(3, P) the point seen, as a mean of the corners of its face."""
        column, line = self.covered % self.size, self.covered.div(self.size, rounding_mode="floor") % self.size
        x, y = self.ray.index_select(0, column), -self.ray.index_select(0, line)
        a, b, c = self.corners(self.seen)
        return barycentric(a, b, c, x, y, self.scene.cameras.perspective)

    def corners(self, values: Tensor) -> Iterator[Tensor]:
        """Values at the corners of the faces seen, (K, P) three times; of vertices (K, V), or as seen (K, N, V)."""
        of_view = self.view * values.shape[-1] if values.dim() == 3 else 0
        return (values.flatten(1).index_select(1, c.index_select(0, self.face) + of_view) for c in self.scene.face)

    def mean(self, values: Tensor) -> Tensor:
        """(K, P) values at the points seen."""
        a, b, c = (value * weight for value, weight in zip(self.corners(values), self.weight, strict=True))
        return a + b + c

    def paint(self, values: Tensor, background: float = 0) -> Tensor:
        """(K, P) of the points seen -> (K, pixels)"""
        return values.new_full((len(values), len(self.near)), background).index_copy(1, self.covered, values)

    def paint_faces(self, table: Tensor) -> Iterator[Tensor]:
        """(K, N * F) of the faces as seen -> K times (pixels,), without a detour over the pixels covered."""
        label = self.label.clamp(max=table.shape[1])  # the entry after the last is the background
        rows = pad(table.to(self.dtype), (0, 1))
        return (row.index_select(0, label) for row in rows)
