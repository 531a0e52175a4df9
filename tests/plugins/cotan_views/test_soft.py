import pytest
import torch

from cotan_views.cameras import cameras
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
