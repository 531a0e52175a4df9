import pytest
import torch

from cotan_views.cameras import cameras
from cotan_views.project import CUT
from cotan_views.render import render

from .shapes import soup, sphere

SQUARE = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=torch.float64) * 0.45
FACES = torch.tensor([[0, 0], [1, 2], [2, 3]])


def soft(pos, face, c, softness, size=20):
    return render(pos, face, c, size=size, outputs=("silhouette",), softness=softness)[:, :, 0]


def test_it_fades_with_the_distance_to_the_border():
    c = cameras([(0, 0, 2)], projection="orthographic", up="y")
    picture = soft(SQUARE, FACES, c, 3.0)[0, 0]
    at = torch.arange(20) - 9.5  # pixels of 0.1; the square's sides are 4.5 from the centre
    beyond = (at.abs() - 4.5).clamp(min=0)
    distance = (beyond[:, None] ** 2 + beyond[None] ** 2).sqrt().double()
    t = (distance / 3).clamp(max=1)
    torch.testing.assert_close(picture, (1 - t) ** 2 * (1 + 2 * t))


def test_inside_and_far_outside_it_is_the_hard_silhouette():
    pos, face = sphere(2)
    hard = render(pos * 0.5, face, cameras(), size=40, outputs=("silhouette",))[0, :, 0]
    picture = soft(pos * 0.5, face, cameras(), 4.0, 40)[0]
    assert (picture[hard > 0] == 1).all()
    assert (picture >= hard).all()
    assert (picture <= 1).all()
    assert picture.sum() > hard.sum() * 1.2
    grown = torch.nn.functional.max_pool2d(hard[:, None], 9, 1, 4)[:, 0]
    assert (picture[grown == 0] == 0).all()


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_its_gradient(projection):
    pos, face = soup(3)
    c = cameras(projection=projection, count=2)
    assert torch.autograd.gradcheck(lambda p: soft(p * 0.7, face, c, 2.5, 8), pos.requires_grad_())


def test_its_gradient_fits_a_shape_to_a_silhouette():
    face = sphere(1)[1]
    target_shape = sphere(1)[0] * torch.tensor([0.3, 0.5, 0.7])
    c = cameras("icosphere", count=12)
    target = soft(target_shape, face, c, 4.0)
    scale = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([scale], lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        (soft(sphere(1)[0] * scale, face, c, 4.0) - target).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(scale.detach(), torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64), atol=0.02, rtol=0)


def test_the_budget_does_not_change_it():
    pos, face = soup(20)
    options = {"size": 24, "outputs": ("silhouette",), "softness": 2.0}
    whole = render(pos, face, cameras(), **options)
    assert torch.equal(render(pos, face, cameras(), budget=50, **options), whole)


def test_it_is_in_pixels_of_the_picture_however_many_samples_these_have():
    pos, face = sphere(1)
    fine = soft(pos * 0.5, face, cameras(), 4.0, 40)
    mean = render(pos * 0.5, face, cameras(), size=20, samples=2, outputs=("silhouette",), softness=2.0)[:, :, 0]
    assert torch.equal(mean, torch.nn.functional.avg_pool2d(fine, 2))


def test_its_gradient_is_finite_where_a_face_seen_from_its_edge_runs_through_pixel_centres():
    c = cameras([(3, 0, 0)], projection="orthographic")
    pos = SQUARE.clone().requires_grad_()
    picture = soft(pos, FACES, c, 2.0, 21)
    assert picture.max() == 1
    assert torch.autograd.grad(picture.sum(), pos)[0].isfinite().all()


def box():
    """A cuboid of four squares a side, that stands square to the axes."""
    import trimesh

    mesh = trimesh.creation.box((0.7, 0.9, 1.1)).subdivide()
    return torch.tensor(mesh.vertices), torch.tensor(mesh.faces.copy()).T.contiguous()


def flipped(shape):
    """Half of the faces the other way round."""
    pos, face = shape
    some = torch.randperm(face.shape[1], generator=torch.Generator().manual_seed(0))[::2]
    face = face.clone()
    face[:, some] = face[:, some].flip(0)
    return pos * 0.5, face


def from_all_edges(pos, face, c, softness, size):
    """The soft silhouette outside, from the distance of pixels to every edge before the eye."""
    right, up, depth = torch.einsum("nij,nvj->inv", c.axes, pos - c.eye.unsqueeze(1))
    by = c.focal * size / 2 / (depth if c.perspective else 1)
    at = torch.stack((right * by + (size - 1) / 2, (size - 1) / 2 - up * by), -1)  # (N, V, 2)
    a, b = at[:, face].flatten(1, 2).unsqueeze(2), at[:, face.roll(1, 0)].flatten(1, 2).unsqueeze(2)  # (N, 3F, 1, 2)
    pixel = torch.cartesian_prod(torch.arange(size), torch.arange(size)).flip(1).double()  # x, y
    along = ((pixel - a) * (b - a)).sum(-1) / (b - a).square().sum(-1).clamp(min=1e-24)
    square = (a + along.clamp(0, 1).unsqueeze(-1) * (b - a) - pixel).square().sum(-1)
    before = (depth[:, face] >= CUT) & (depth[:, face.roll(1, 0)] >= CUT)
    square = square.masked_fill(~before.flatten(1).unsqueeze(2), torch.inf).amin(1)
    t = (square.clamp(min=1e-24).sqrt() / softness).clamp(max=1)
    return ((1 - t) ** 2 * (1 + 2 * t)).view(len(c.eye), size, size)


SHEET = torch.cartesian_prod(torch.linspace(-0.6, 0.6, 4), torch.linspace(-0.5, 0.5, 4), torch.zeros(1)).double()
AROUND = [(0.3, 1, 2), (1, -2, 0.4)]
# Two faces with an edge before the eye and a corner behind it each.
WEDGE = torch.tensor([[0.14, 0.11, -1.27], [0.22, -0.53, -0.4], [0.1, 0.15, 0.06], [-0.2, -0.1, 0.04]]).double()
SHAPES = {
    "closed": (flipped(sphere(2)), AROUND),
    "soup": (flipped(soup(12)), AROUND),
    "open": (flipped((sphere(1)[0], sphere(1)[1][:, ::3])), AROUND),
    "behind": ((WEDGE, torch.tensor([[0, 1], [1, 0], [2, 3]])), [(0, 0, 0.01)]),
    "box": (box(), [(0, 0, 3), (3, 3, 0), (1, 2, 3)]),  # faces seen from their edges
    "sheet": (flipped((SHEET, sphere(0)[1])), [(3, 0, 0), (2, 1, 0)]),  # and nothing else
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_edges_within_the_shape_do_not_matter(name, projection):
    (pos, face), eyes = SHAPES[name]
    c = cameras(eyes, projection=projection)
    pos = pos.clone().requires_grad_()
    inside = soft(pos, face, c, 1e-3)[0] == 1
    pictures = [soft(pos, face, c, 4.0)[0], from_all_edges(pos, face, c, 4.0, 20).masked_fill(inside, 1)]
    assert 0.05 < pictures[0].mean() < 0.98
    torch.testing.assert_close(*pictures)
    if name not in ("box", "sheet"):  # where edges lie on each other, either may have the gradient
        weight = torch.rand(pictures[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(*(torch.autograd.grad((weight * picture).sum(), pos)[0] for picture in pictures))
