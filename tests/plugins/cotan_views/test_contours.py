import math

import pytest
import torch

from cotan_views.cameras import cameras
from cotan_views.render import render

from .shapes import sphere


def contours(pos, face, c, size=41):
    return render(pos, face, c, size=size, outputs=("contours", "silhouette", "depth"))[0]


def cube(at=(0.0, 0.0, 0.0), half=0.5):
    import trimesh

    from .shapes import tensors

    pos, face = tensors(trimesh.creation.box((2 * half,) * 3))
    return pos + torch.tensor(at, dtype=torch.float64), face


def border(mask):
    """Pixels of a mask (H, W) with a 4-neighbour outside."""
    out = torch.nn.functional.pad(~mask, (1, 1, 1, 1), value=True)
    return mask & (out[:-2, 1:-1] | out[2:, 1:-1] | out[1:-1, :-2] | out[1:-1, 2:])


def test_a_sphere_is_a_circle():
    for line, inside, _ in contours(*sphere(5), cameras()):
        assert torch.equal(line > 0, border(inside > 0))


def test_a_cube_shows_its_creases():
    line, inside, _ = contours(*cube(), cameras([(2, 2, 2)]), 61)[0]
    crease = (line > 0) & ~border(inside > 0)
    # Three edges meet at the nearest corner, in the middle of the picture; they are drawn from either side.
    assert crease.sum() > 3 * 10
    assert crease[28:33, 28:33].any()
    seen_straight, inside, _ = contours(*cube(), cameras([(0, 0, 3)], up="y"), 61)[0]
    assert torch.equal(seen_straight > 0, border(inside > 0))


def test_what_stands_before_something_else_is_outlined():
    wall, box = cube((0, 0, -0.9), 0.8), cube((0, 0, 0.3), 0.2)
    pos = torch.cat((wall[0], box[0]))
    face = torch.cat((wall[1], box[1] + len(wall[0])), 1)
    line, inside, depth = contours(pos, face, cameras([(0, 0, 3)], up="y", projection="orthographic"), 60)[0]
    front = (depth > 0) & (depth < 2.7)
    assert torch.equal(line > 0, border(inside > 0) | border(front))


ABOVE = cameras([(0, 0, 3)], up="y", projection="orthographic")


@pytest.mark.parametrize(("degrees", "drawn"), [(38, False), (42, True)])
def test_a_ridge_is_a_line_from_forty_degrees(degrees, drawn):
    """On pixels so wide that a side, continued, is more than the threshold before the other."""
    low = -0.7 * math.tan(math.radians(degrees / 2))
    pos = torch.tensor([(x, y, low * (x != 0)) for x in (-0.7, 0, 0.7) for y in (-0.7, 0.7)], dtype=torch.float64)
    face = torch.tensor([[0, 1, 2, 3], [2, 2, 4, 4], [1, 3, 3, 5]])
    line, inside, _ = contours(pos, face, ABOVE, 10)[0]
    assert ((line > 0) & ~border(inside > 0)).any() == drawn


@pytest.mark.parametrize(("apart", "drawn"), [(0.04, False), (0.06, True)])
def test_a_wall_is_outlined_by_how_far_it_stands_before_another(apart, drawn):
    (wall, face), (plate, _) = cube((0, 0, -0.8), 0.8), cube((0, 0, apart - 0.2), 0.2)
    line, inside, depth = contours(torch.cat((wall, plate)), torch.cat((face, face + 8), 1), ABOVE, 40)[0]
    front = depth.where(inside > 0, 9) < 3 - apart / 2
    assert 0 < front.sum() < (inside > 0).sum() / 2
    assert torch.equal(line > 0, border(inside > 0) | (border(front) if drawn else False))


def test_a_picture_may_have_one_pixel():
    assert contours(*cube(), ABOVE, 1)[0, 0].tolist() == [[1]]


def test_a_slope_is_no_border():
    # A plane seen at a flat angle falls by more than the threshold from pixel to pixel.
    pos = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=torch.float64)
    face = torch.tensor([[0, 0], [1, 2], [2, 3]])
    line, inside, depth = contours(pos, face, cameras([(0, -3, 0.3)]), 41)[0]
    fall = depth.diff(dim=0)[(inside[1:] > 0) & (inside[:-1] > 0)].abs()
    assert fall.max() > 0.1
    assert torch.equal(line > 0, border(inside > 0))
    tilted = 0.7 * pos + torch.tensor([0, 0, 0.5]) * pos[:, :1]
    line, inside, depth = contours(tilted, face, ABOVE, 20)[0]
    assert depth.diff(dim=1)[5:14, 5:14].abs().min() > 0.05
    assert torch.equal(line > 0, border(inside > 0))


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_lines_are_those_of_the_surface_whatever_the_axes_are_scaled_by(projection):
    pos, face = sphere(3)
    rig = cameras(count=3, projection=projection)
    expected = contours(pos, face, rig, 32)[:, 0]
    axes = rig.axes * torch.tensor([rig.focal, rig.focal, 1])[:, None]
    for same in (rig._replace(focal=torch.tensor(rig.focal, dtype=torch.float64)), rig._replace(axes=axes, focal=1.0)):
        assert torch.equal(contours(pos, face, same, 32)[:, 0], expected)
