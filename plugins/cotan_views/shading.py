"""Geometry at a pixel: where its ray meets a plane, normals, light. All of it is differentiable in the positions."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .cameras import Cameras, turn


def barycentric(a: Tensor, b: Tensor, c: Tensor, x: Tensor, y: Tensor, perspective: bool) -> Tensor:
    """Where rays meet the planes of triangles: weights (3, P) of the corners, that sum to one.

    The weight of a is proportional to the area of (ray, b, c) on the screen. As the corners are taken in space, the
    point, its depth and all attributes are the same mean of theirs: perspective needs no correction.

    a, b, c: (3, P) in the camera's coordinates; x, y: (P,) the rays, through (x, y, 1) or parallel through (x, y).
    """
    (ax, ay), (bx, by), (cx, cy) = (
        (k[0] - x * s, k[1] - y * s) for k in (a, b, c) for s in [k[2] if perspective else 1]
    )
    weight = torch.stack((bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx))
    total = weight.sum(0)
    flat = total == 0  # seen exactly from the side, it has no area: its middle stands for it
    weight = torch.where(flat, 1 / 3, weight / torch.where(flat, 1.0, total))
    weight = weight.clamp(0, 1)  # rounding leaves weights just below zero on an edge, and anything on a sliver
    return weight / weight.sum(0)


def face_normals(pos: Tensor, face: Tensor) -> Tensor:
    """(F, 3), twice the area long."""
    a, b, c = (pos.index_select(0, k) for k in face)
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(pos: Tensor, face: Tensor) -> Tensor:
    """(V, 3): the faces' normals summed, weighted by area."""
    return torch.zeros_like(pos).index_add(0, face.reshape(-1), face_normals(pos, face).repeat(3, 1))


def flat_normals(pos: Tensor, face: Tensor, cameras: Cameras) -> Tensor:
    """(3, N, F) unit normals of faces in the cameras' coordinates: right, up, towards the viewer."""
    normal = normalize(face_normals(pos, face), dim=1, eps=1e-300)
    return turn(outward(cameras), normal) * towards(normal.detach(), pos.detach(), face, cameras)


def towards(normal: Tensor, pos: Tensor, face: Tensor, cameras: Cameras) -> Tensor:
    """(N, F) the sign that turns the faces' normals (F, 3) towards the viewer: soups show faces from either side."""
    if cameras.perspective:
        x, y, z = (pos.index_select(0, face[0]) * normal).unbind(1)  # their sum is ten times as fast as `sum(1)`
        sight = turn(cameras.eye.unsqueeze(1), normal)[0] - (x + y + z)
    else:
        sight = turn(-cameras.axes[:, 2:], normal)[0]
    return torch.ones_like(sight).copysign_(sight)


def outward(cameras: Cameras) -> Tensor:
    """(N, 3, 3) right, up and backward, the frame in which normals are given: at right angles also where the axes are not."""
    right, up, forward = cameras.axes.unbind(1)
    frame = [-normalize(forward, dim=1)]
    for axis in (up, right):  # as a matrix of a camera makes them, right may have a part along up
        along = sum((axis * other).sum(1, keepdim=True) * other for other in frame)
        frame.append(normalize(axis - along, dim=1))
    return torch.stack(frame[::-1], 1)


def phong(normal: Tensor) -> Tensor:
    """Light on a surface from a lamp far behind the viewer (Phong, 1975): ambient 0.2, diffuse 0.6, specular 0.2.

    normal: (3, ...) as `flat_normals`: its last row is the cosine of the angle to the lamp, and the lamp's mirror image
    is seen at twice that angle.
    """
    cosine = normal[2].clamp(min=0)  # in perspective a face can be seen although it looks away from the picture plane
    return 0.2 + 0.6 * cosine + 0.2 * (2 * cosine**2 - 1).clamp(min=0) ** 16
