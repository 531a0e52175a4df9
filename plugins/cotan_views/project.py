"""From the shape to the screen: what each camera sees of each triangle, cut at a plane just before the eye."""

import torch
from torch import Tensor

from .cameras import Cameras, turn
from .rasterise import Triangles

CUT = 1e-3  # in units of the shape's radius; the cameras of the rigs never come so close


def to_camera(pos: Tensor, cameras: Cameras) -> Tensor:
    """Positions (V, 3) as each camera has them: (3, N, V), the coordinates right, up and forward."""
    return turn(cameras.axes, pos) - (cameras.axes * cameras.eye.unsqueeze(1)).sum(2).T.unsqueeze(2)


def project(
    seen: Tensor, face: Tensor, batch: Tensor, shapes: int, cameras: Cameras, size: int
) -> tuple[Triangles, Tensor]:
    """The triangles of all pictures of N cameras and B shapes; shape b from camera n is picture b * N + n.

    seen: (3, N, V) from `to_camera`; face: (3, F), of B shapes; batch: (V,) the shape of each vertex.
    A triangle's label is n * F + f.

    Returns: the triangles, and `far` (B * N,) such that depth is 1/near (perspective) or far - near (parallel).
    """
    _, n, v = seen.shape
    view = torch.arange(n, device=seen.device, dtype=torch.int32).unsqueeze(1)  # half the memory to move
    corner = torch.add(face.int().unsqueeze(1), view, alpha=v).flatten(1)
    image = torch.add(view, batch.index_select(0, face[0]).int(), alpha=n).flatten()
    label = torch.arange(len(image), device=seen.device, dtype=torch.int32)
    points = seen.reshape(3, -1)
    # Any constant above all depths would do; one of the shape's own keeps it apart from the rest of the batch.
    far = seen.new_zeros(shapes, n)
    if not cameras.perspective:
        used = torch.zeros_like(batch, dtype=torch.bool).index_fill(0, face.flatten(), True)
        depth = seen[2].T * used.unsqueeze(1)  # a vertex without faces may lie anywhere, and take the digits away
        far.scatter_reduce_(0, batch.unsqueeze(1).expand(v, n), 2 * depth, "amax")
        points = torch.cat((points, far.index_select(0, batch).T.reshape(1, -1)))
    if (points[2] < CUT).any():
        points, corner, kept = _cut(points, corner.long())
        label, image = label.index_select(0, kept), image.index_select(0, kept)
    near = points[2].reciprocal() if cameras.perspective else points[3] - points[2]
    return Triangles(*on_screen(points, cameras, size), near, corner, label, image), far.view(-1)


def on_screen(points: Tensor, cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """x to the right and y down, in pixels, of points (3, P) in a camera's coordinates; those nearer than `CUT` as at `CUT`."""
    scale, centre = cameras.focal * size / 2, (size - 1) / 2
    by = scale / points[2].clamp(min=CUT) if cameras.perspective else scale
    return points[0] * by + centre, centre - points[1] * by


def _cut(points: Tensor, corner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of triangles before the plane z = CUT: points, corner, and the triangle that each is a part of."""
    behind = points[2][corner] < CUT
    many = behind.sum(0)
    split = ((many == 1) | (many == 2)).nonzero().squeeze(1)
    # Turn each so that the corner that is alone on its side of the plane comes first.
    alone = (behind[:, split] == (many[split] == 1)).long().argmax(0)
    a, b, c = (corner[(alone + k) % 3, split] for k in range(3))
    hidden = many[split] == 1
    cuts = torch.cat([_crossing(points, a, other, hidden) for other in (b, c)], 1)
    p = points.shape[1] + torch.arange(len(split), device=points.device)
    q = p + len(split)
    whole = (many == 0).nonzero().squeeze(1)
    tip, base = ~hidden, hidden  # of the three corners one is seen: a tip; or two: a base of two triangles
    corners = [
        corner[:, whole],
        torch.stack((a, p, q))[:, tip],
        torch.stack((p, b, c))[:, base],
        torch.stack((p, c, q))[:, base],
    ]
    kept = torch.cat((whole, split[tip], split[base], split[base]))
    return torch.cat((points, cuts), 1), torch.cat(corners, 1), kept


def _crossing(points: Tensor, a: Tensor, b: Tensor, a_hidden: Tensor) -> Tensor:
    """Where edges cross the plane, always walked from behind it: the same for both faces of an edge."""
    start, end = points[:, torch.where(a_hidden, a, b)], points[:, torch.where(a_hidden, b, a)]
    return torch.lerp(start, end, (CUT - start[2]) / (end[2] - start[2]))
