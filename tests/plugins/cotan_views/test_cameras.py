import math

import pytest
import torch

import cotan
from cotan_views.cameras import cameras


def directions(*args, **options):
    return torch.nn.functional.normalize(cameras(*args, **options).eye, dim=1)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_the_default_is_the_ring_of_twelve_at_thirty_degrees(up):
    torch.testing.assert_close(cameras(up=up).eye.norm(dim=1), torch.full((12,), 2.0, dtype=torch.float64))
    eye = directions(up=up).roll(2 - "xyz".index(up), 1)  # the axis `up` last
    torch.testing.assert_close(eye[:2], torch.tensor([[0.75**0.5, 0, 0.5], [0.75, 0.75**0.5 / 2, 0.5]]).double())
    torch.testing.assert_close(eye[:, 2], torch.full((12,), 0.5, dtype=torch.float64))
    step = (eye[:, :2] * eye.roll(1, 0)[:, :2]).sum(1) / eye[:, :2].square().sum(1)
    torch.testing.assert_close(step, torch.full_like(step, math.cos(math.pi / 6)))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"rig": "ring", "count": 5, "elevation": -20}, 5),
        ({"rig": "dodecahedron"}, 20),
        ({"rig": "icosphere"}, 12),
        ({"rig": "icosphere", "count": 42}, 42),
        ({"rig": "icosphere", "count": 162}, 162),
        ({"rig": "random", "count": 7, "seed": 3}, 7),
        ({"rig": [(0, 0, 3), (1, 2, 0.5)]}, 2),
    ],
)
@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_every_camera_is_a_rotation_that_looks_at_the_origin(options, count, up):
    c = cameras(**options, up=up)
    assert len(c.eye) == count
    eye = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
    torch.testing.assert_close(c.axes @ c.axes.transpose(1, 2), eye)
    right, upward, forward = c.axes.unbind(1)
    torch.testing.assert_close(torch.linalg.cross(right, upward), -forward)  # right, up and backward: right-handed
    torch.testing.assert_close(forward, -torch.nn.functional.normalize(c.eye, dim=1))
    assert (upward[:, "xyz".index(up)] >= -1e-12).all()
    assert right[:, "xyz".index(up)].abs().max() < 1e-12 or count in (2, 12, 42, 162)  # poles may roll


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_from_a_pole_but_not_from_beside_it_the_next_axis_points_up(up):
    beside = cameras([torch.tensor([0.01, 0.02, 1]).roll("xyz".index(up) + 1).tolist()], up=up).axes[0, 0]
    assert beside["xyz".index(up)].abs() < 1e-12
    axis = torch.eye(3, dtype=torch.float64)["xyz".index(up)]
    upward = cameras([axis.tolist(), (-axis).tolist()], up=up).axes[:, 1]
    torch.testing.assert_close(upward, axis.roll(1).expand(2, 3))


@pytest.mark.parametrize(("rig", "count"), [("dodecahedron", None), ("icosphere", 12)])
def test_platonic_rigs_are_evenly_spread(rig, count):
    eye = directions(rig, count=count)
    apart = torch.cdist(eye, eye).fill_diagonal_(9).amin(1)
    torch.testing.assert_close(apart, apart[:1].expand_as(apart))
    torch.testing.assert_close(eye.mean(0), torch.zeros(3, dtype=torch.float64))


def test_the_unit_ball_just_fills_the_picture():
    c = cameras(fov=40.0)
    distance = c.eye.norm(dim=1)
    # The tangent to the unit ball from the eye makes half the angle of view with the axis.
    torch.testing.assert_close((1 / distance).asin() * 2 * 180 / math.pi, torch.full((12,), 40.0, dtype=torch.float64))


def test_a_ring_may_stand_at_the_pole():
    torch.testing.assert_close(directions(elevation=90), torch.eye(3, dtype=torch.float64)[[2] * 12])


def test_random_cameras_depend_on_their_seed_only():
    assert torch.equal(directions("random", seed=1), directions("random", seed=1))
    assert not torch.equal(directions("random", seed=1), directions("random", seed=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rig": "rng"}, "unknown rig 'rng'. Did you mean 'ring'.*dodecahedron, icosphere, random, ring, or a list"),
        ({"rig": "dodecahedron", "count": 12}, "does not use count"),
        ({"rig": "dodecahedron", "elevation": 3.0}, "does not use elevation"),
        ({"rig": "ring", "seed": 1}, "does not use seed"),
        ({"rig": "icosphere", "count": 13}, "12, 42, 162"),
        ({"rig": "ring", "count": 0}, "count=0, expected a whole number of at least 1"),
        ({"count": 2.5}, "count=2.5, expected a whole number of at least 1"),
        ({"count": True}, "count=True, expected a whole number of at least 1"),
        ({"rig": "random", "seed": 2**63}, "seed is a whole number below 2.63; got 9223"),
        ({"elevation": math.nan}, "elevation is an angle from -90 to 90 degrees; got nan"),
        ({"elevation": "30"}, "degrees; got '30'"),
        ({"elevation": 100}, "from -90 to 90 degrees; got 100"),
        ({"rig": [(0, 0, 0)]}, "none is at the origin"),
        ({"rig": [(0, 1)]}, r"shape \(1, 2\)"),
        ({"rig": None}, "ring, dodecahedron, icosphere, random, or a list of eyes .* got None"),
        ({"rig": ["ring"]}, r"a list of eyes \(x, y, z\); got \['ring'\]"),
        ({"rig": [(0, 1), (0, 1, 2)]}, "a list of eyes"),
        ({"rig": "random", "seed": 1.5}, "seed is a whole number below 2.63; got 1.5"),
        ({"fov": "60"}, "between 0 and 180 degrees; got '60'"),
        ({"rig": [(0, 0, 1)], "count": 1}, "does not use count"),
        ({"rig": [(0, 0, 1)], "elevation": 1.0}, "does not use elevation"),
        ({"rig": [(0, 0, 1)], "seed": 1}, "does not use seed"),
        ({"up": "w"}, "got 'w'"),
        ({"fov": 180}, "got 180"),
        ({"fov": 40.0, "projection": "orthographic"}, "'orthographic' does not use fov; got fov=40"),
        ({"projection": "fisheye"}, "got 'fisheye'"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(cotan.CotanError, match=message):
        cameras(**options)
