"""The nodes `raster` and `views` on the graph."""

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan_views.cameras import cameras
from cotan_views.normalise import normalise
from cotan_views.render import raster, render

from .shapes import knot, soup, sphere


def shape(make=knot, **more):
    pos, face = make()
    return Data(pos=pos.float(), face=face, **more)


def test_views_are_the_pictures_of_the_normalised_shape():
    data = shape()
    options = {"rig": "dodecahedron", "size": 24, "outputs": ("normals", "shaded"), "samples": 2, "smooth": True}
    found = cotan.compute(data, "views", **options)
    del options["rig"]
    pos = normalise(data.pos.double(), data.face)
    expected = render(pos, data.face, cameras("dodecahedron"), **options)[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())
    torch.testing.assert_close(
        cotan.compute(data, "views", rig="dodecahedron", dtype=torch.float64, **options), expected, rtol=0, atol=1e-9
    )


def test_the_default_is_twelve_views_of_depth_and_normals():
    views = cotan.compute(shape(), "views")
    assert views.shape == (12, 4, 64, 64)
    assert views.isfinite().all()


def test_a_wire_between_the_pixels_is_said():
    needle = torch.tensor([[-100.0, 0.1, 0.0], [100.0, 0.1, 0.0], [0.0, 0.2, 0.1]])
    wire = Data(pos=needle, face=torch.tensor([[0], [1], [2]]))
    with pytest.warns(cotan.MeshWarning, match="so thin that it meets no pixel's centre, and its pictures at size=16"):
        assert not cotan.compute(wire, "views", size=16).any()
    assert cotan.compute(wire, "views", size=16, samples=64).any()  # a warning is an error here


def test_raster_says_which_face_each_pixel_sees():
    data = shape()
    found = cotan.compute(data, "raster", size=24, rig=[(0, 0, 2), (1, 2, 3)], projection="orthographic")
    pos = normalise(data.pos.double(), data.face)
    c = cameras([(0, 0, 2), (1, 2, 3)], projection="orthographic")
    expected = raster(pos, data.face, c, size=24)
    assert torch.equal(found.face, expected.face[0])
    torch.testing.assert_close(found.barycentric, expected.barycentric[0].float())
    torch.testing.assert_close(found.depth, expected.depth[0].float())


def test_size_and_place_of_the_shape_do_not_matter():
    data = shape()
    moved = Data(pos=data.pos * 16 + 3, face=data.face)
    before, after = (cotan.compute(d, "views", size=32) for d in (data, moved))
    assert ((before - after).abs() > 1e-4).double().mean() < 1e-3


def test_colours_are_taken_from_the_data():
    data = shape(color=torch.rand(720, 3, generator=torch.Generator().manual_seed(0)))
    views = cotan.compute(data, "views", size=16, outputs=("color",))
    assert views.shape == (12, 3, 16, 16)
    assert views.max() > 0.5
    with pytest.raises(cotan.CotanError, match="colours"):
        cotan.compute(shape(), "views", size=16, outputs=("color",))


def test_gradients_reach_the_positions_through_the_graph():
    data = shape(lambda: soup(5))
    data.pos = data.pos.double().requires_grad_()
    views = cotan.compute(data, "views", size=12, outputs=("depth", "shaded"), dtype=torch.float64)
    views.square().sum().backward()
    assert data.pos.grad.isfinite().all()
    assert data.pos.grad.abs().sum() > 0
    # Moving or scaling the whole shape changes nothing.
    scale = data.pos.grad.abs().sum()
    assert data.pos.grad.sum(0).abs().max() < 1e-9 * scale
    assert (data.pos.grad * data.pos).sum().abs() < 1e-9 * scale


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("dept",)}, "unknown output 'dept'"),
        ({"align": "pca"}, "'none' or 'principal'; got 'pca'"),
        ({"rig": "rnig"}, "unknown rig 'rnig'"),
        ({"sise": 3}, "size"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(cotan.CotanError, match=message):
        cotan.compute(shape(sphere), "views", **options)


def test_a_shape_without_surface_is_refused():
    flat = Data(pos=torch.ones(3, 3), face=torch.tensor([[0], [1], [2]]))
    with pytest.raises(cotan.CotanError, match="area zero"):
        cotan.compute(flat, "views", size=8)
