"""The z-buffer in pixel units, against exact integer arithmetic."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from cotan_views.rasterise import NOTHING, Triangles, nearest

SIZE = 12


def draw(corners, near, *, size=SIZE, image=None, images=1, budget=10**6):
    """corners: (M, 3, 2) in pixels; near: (M, 3)."""
    corners, near = torch.as_tensor(corners, dtype=torch.float64), torch.as_tensor(near, dtype=torch.float64)
    m = len(corners)
    label = torch.arange(m, device=near.device)
    image = torch.zeros_like(label) if image is None else image
    x, y = corners.reshape(-1, 2).T
    corner = torch.arange(3 * m, device=near.device).view(m, 3).T
    triangles = Triangles(x, y, near.reshape(-1), corner, label, image)
    label, found = nearest(triangles, images, size, budget)
    return label.view(images, size, size), found.view(images, size, size)


def exact_owner(corners, level, size=SIZE):
    """Corners in quarters of a pixel: integers, so containment is decided exactly. Nearest level, then lowest index."""
    step = 4 * torch.arange(size)
    px, py = step.repeat(size), step.repeat_interleave(size)
    best = torch.full((size * size,), NOTHING)
    height = torch.zeros(size * size, dtype=torch.int64)
    for number, ((a, b, c), near) in enumerate(zip(corners.tolist(), level.tolist(), strict=True)):
        sides = [(v[0] - u[0]) * (py - u[1]) - (v[1] - u[1]) * (px - u[0]) for u, v in ((a, b), (b, c), (c, a))]
        inside = torch.stack(sides).ge(0).all(0) | torch.stack(sides).le(0).all(0)
        if (b[0] - a[0]) * (c[1] - a[1]) == (b[1] - a[1]) * (c[0] - a[0]):
            continue  # no area; where it might show is not specified
        shown = inside & (near > height)
        best[shown], height[shown] = number, near
    return best.view(size, size)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(-12, 60), min_size=6, max_size=6), st.integers(1, 4)), min_size=1, max_size=12
    )
)
def test_every_pixel_belongs_to_the_nearest_triangle_at_its_centre_and_ties_to_the_lowest_number(triangles):
    corners = torch.tensor([c for c, _ in triangles]).view(-1, 3, 2)
    level = torch.tensor([n for _, n in triangles])
    area = torch.linalg.det(torch.cat((corners.double(), torch.ones(len(corners), 3, 1)), 2)).abs()
    corners, level = corners[area > 0.5], level[area > 0.5]
    if len(corners) == 0:
        return
    label, near = draw(corners.double() / 4, level.double()[:, None].expand(-1, 3))
    expected = exact_owner(corners, level)
    assert torch.equal(label[0], expected)
    assert torch.equal(near[0] > 0, expected < NOTHING)


def test_a_tilted_triangle_has_the_depth_of_its_plane():
    corners = torch.tensor([[[-3.0, -2], [30, 1], [2, 25]]], dtype=torch.float64)

    def plane(p):
        return 2 + 0.03 * p[..., 0] - 0.02 * p[..., 1]

    label, near = draw(corners, plane(corners))
    row, column = (label[0] == 0).nonzero().T
    assert len(row) > 100
    torch.testing.assert_close(near[0, row, column], plane(torch.stack((column, row), 1).double()), rtol=1e-14, atol=0)


def test_tilted_faces_in_one_plane_tie_although_their_rounding_differs():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(20, 3, 2, generator=generator, dtype=torch.float64) * 16 - 2

    def plane(p):
        return 0.3 + 0.00371 * p[..., 0] - 0.00213 * p[..., 1]

    label, _ = draw(corners, plane(corners))
    flat, _ = draw(corners, torch.ones(20, 3))
    assert torch.equal(label, flat)


def test_what_is_nearer_by_more_than_rounding_is_in_front():
    corners = torch.tensor([[[0.0, 0], [11, 0], [0, 11]]]).repeat(2, 1, 1)
    label, _ = draw(corners, torch.tensor([[1.0], [1 + 2.0**-38]], dtype=torch.float64).expand(2, 3))
    assert (label[label < NOTHING] == 1).all()


@pytest.mark.parametrize(("beside", "reach"), [(2.0**-39, 3), (2.0**-33, 2)])
def test_centres_within_rounding_of_edges_and_corners_belong_to_the_face(beside, reach):
    """A square and a diamond about a pixel, whose sides and corners lie just before centres of others."""
    far = 3 - beside
    square = torch.tensor([[-far, -far], [far, -far], [far, far], [-far, far]], dtype=torch.float64) + 5
    diamond = torch.tensor([[0, -far], [far, 0], [0, far], [-far, 0]], dtype=torch.float64) + 5
    x, y = (torch.arange(SIZE) - 5).abs(), (torch.arange(SIZE) - 5).abs()[:, None]
    for corners, away in ((square, torch.maximum(x, y)), (diamond, x + y)):
        label, _ = draw(corners[torch.tensor([[0, 1, 2], [0, 2, 3]])], torch.ones(2, 3))
        assert torch.equal(label[0] < NOTHING, away <= reach)


def test_the_thinnest_face_is_shown_where_it_passes_through_centres():
    corners = torch.tensor([[[0, 5], [11, 5], [11, 5 + 1e-9]], [[3, 0], [3 + 1e-12, 11], [3, 11]]], dtype=torch.float64)
    label, _ = draw(corners, torch.tensor([[1.0], [2.0]]).expand(2, 3))
    assert label[0, 5].tolist() == [0, 0, 0, 1] + [0] * 8
    assert (label[0, :, 3] == 1).all()


@pytest.mark.parametrize("turned", [False, True])
def test_what_has_no_area_is_not_drawn(turned):
    corners = torch.tensor(
        [[[0.0, 5], [11, 5], [11, 5]], [[0, 5], [4, 5], [11, 5]], [[1, 1], [5, 5], [3, 3]], [[2, 2]] * 3]
    )
    label, _ = draw(corners.flip(-1) if turned else corners, torch.ones(4, 3))
    assert (label == NOTHING).all()


def test_a_sliver_does_not_come_before_its_corners():
    # Its plane is so steep that rounding decides the slope; what it shows must lie between its corners all the same.
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(500, 3, generator=generator, dtype=torch.float64) * 11
    x = 5 + torch.randint(-2, 3, (500, 3), generator=generator).double() * 1e-15
    near = 1 + torch.rand(500, 3, generator=generator, dtype=torch.float64)
    image = torch.arange(500)
    label, found = draw(torch.stack((x, y), 2), near, image=image, images=500)
    shown = label.flatten(1) < NOTHING
    assert shown.sum() > 500
    assert (found.flatten(1).amax(1) <= near.amax(1)).all()


@pytest.mark.parametrize("scale", [0.37, 1.9, 5.3])
def test_a_triangulation_has_no_cracks(scale):
    """Delaunay triangles of random points, many of them on pixel centres: what the hull holds is covered."""
    from scipy.spatial import Delaunay

    generator = torch.Generator().manual_seed(2)
    points = torch.rand(400, 2, generator=generator, dtype=torch.float64) * 40 * scale
    points[::3] = points[::3].round()
    points = torch.cat((points, torch.tensor([[0.0, 0], [40 * scale, 0], [0, 40 * scale], [40 * scale, 40 * scale]])))
    triangles = torch.as_tensor(Delaunay(points).simplices).long()
    size = int(40 * scale) + 1
    label, _ = draw(points[triangles], torch.ones(len(triangles), 3), size=size)
    assert (label < NOTHING).all()


def random_soup(count, images, seed=3):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randn(count, 3, 2, generator=generator, dtype=torch.float64) * 8 + 6
    near = torch.rand(count, 3, generator=generator, dtype=torch.float64) + 0.1
    return corners, near, torch.randint(images, (count,), generator=generator).sort().values


@pytest.mark.parametrize("budget", [1, 7, 100, 1000])
def test_the_budget_does_not_change_the_result(budget):
    corners, near, image = random_soup(200, 5)
    whole = draw(corners, near, image=image, images=5)
    parts = draw(corners, near, image=image, images=5, budget=budget)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_the_order_of_triangles_only_renumbers_them():
    corners, near, image = random_soup(200, 5)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(4))
    label, depth = draw(corners, near, image=image, images=5)
    shuffled, same_depth = draw(corners[order], near[order], image=image[order], images=5)
    assert torch.equal(depth, same_depth)
    seen = label < NOTHING
    assert torch.equal(order[shuffled[seen]], label[seen])


def test_no_triangle_inside_gives_an_empty_picture():
    label, near = draw([[[20.0, 20], [30, 20], [20, 30]], [[3.1, 3.1], [3.4, 3.2], [3.3, 3.9]]], torch.ones(2, 3))
    assert (label == NOTHING).all()
    assert (near == 0).all()


def test_triangles_that_reach_far_out_of_the_picture():
    far = 1e12  # more columns and rows than fit into 32 bits
    beside = [
        [[far, 0], [2 * far, 0], [far, 11]],
        [[-far, 0], [-2 * far, 0], [-far, 11]],
        [[0, far], [9, far], [0, 2 * far]],
    ]
    label, near = draw([*beside, [[-far, -far], [far, -far], [0.0, far]]], torch.ones(4, 3))
    assert (label == 3).all()
    assert (near == 1).all()
    # The picture lies at 3/5, 1/5 and 1/5 of the corners.
    _, near = draw([[[0, -far], [far, far], [-far, 2 * far]]], [[1, 2, 3]])
    torch.testing.assert_close(near, torch.full_like(near, 1.6))


@pytest.mark.cuda
def test_cuda_gives_the_same(gpu):
    corners, near, image = random_soup(500, 5)
    there = draw(corners.cuda(), near.cuda(), image=image.cuda(), images=5)
    here = draw(corners, near, image=image, images=5)
    assert torch.equal(here[0], there[0].cpu())
