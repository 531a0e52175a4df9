import matplotlib.image
import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan import registry
from cotan.colors import GREY, diverging
from cotan.inspect import _close, _paint, picture, report, shaded_views, text


def pixels(path):
    """(H, W, 3) in [0, 1]."""
    return torch.from_numpy(matplotlib.image.imread(path)[..., :3].copy())


def coloured(image):
    return image.amax(-1) - image.amin(-1) > 0.3


def test_a_half_covered_pixel_is_half_white():
    cover, shade = (
        torch.tensor([[1.0, 0.5, 0.0]]),
        torch.tensor([[1.0, 0.5, 0.0]]),
    )  # lit alike where there is something
    painted = _paint(cover, shade, cover[..., None] * GREY)
    torch.testing.assert_close(painted[0], torch.stack([GREY, (1 + GREY) / 2, torch.ones(3)]))


def test_a_picture_is_cut_to_the_shape():
    seen = torch.zeros(2, 9, 9)
    seen[0, 1:3, 4:9] = 1
    assert torch.equal(_close(seen), seen[:, 0:5, 4:9])
    seen[0, 8, 4] = 1
    assert torch.equal(_close(seen), seen[:, 1:9, 1:9])
    assert torch.equal(_close(0 * seen), 0 * seen)


def test_another_axis_may_point_up(tmp_path):
    """A shape that was turned, seen with the axis turned as well."""
    post = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 1], [0.2, 4, 0.2]])
    face = torch.tensor([[0, 0, 0, 1], [1, 2, 1, 2], [2, 3, 3, 3]])
    for draw, up in ((picture, "y"), (shaded_views, "z")):
        seen = []
        for axis in "xyz":
            draw(Data(pos=post.roll("xyz".index(axis) - 1, 1), face=face), tmp_path / "a.png", up=axis)
            seen.append(pixels(tmp_path / "a.png"))
        assert all(torch.allclose(image, seen[1], atol=0.1) for image in seen)
        draw(Data(pos=post.roll("xyz".index(up) - 1, 1), face=face), tmp_path / "a.png")
        assert torch.allclose(pixels(tmp_path / "a.png"), seen[1], atol=0.1)
        with pytest.raises(cotan.CotanError, match="got 'w'"):
            draw(Data(pos=post, face=face), tmp_path / "a.png", up="w")


def test_functions_that_are_constant_on_each_part_are_not_drawn(sphere, tmp_path, monkeypatch):
    pos, face = sphere.pos, sphere.face
    far = pos.new_tensor([3.0, 0, 0])
    titles = []
    from matplotlib.axes import Axes

    monkeypatch.setattr(Axes, "set_title", lambda self, title, **_: titles.append(title))
    three = Data(pos=torch.cat([pos, pos + far, pos - far]), face=torch.cat([face + i * len(pos) for i in range(3)], 1))
    picture(three, tmp_path / "three.png")
    assert [title.split(",")[0] for title in titles] == ["mesh", *(f"eigenfunction {i}" for i in range(3, 8))]
    assert all(float(title.split()[-1]) == pytest.approx(2, rel=0.03) for title in titles[1:])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_points_and_shapes_of_any_size_are_drawn_in_both_colours(scale, sphere, tmp_path):
    # Stretched: a round one's eigenfunctions are turned by rounding, and may show one colour alone.
    pos, face = sphere.pos * torch.tensor([1.0, 1.4, 1.9]), sphere.face
    for name, data in {"mesh": Data(pos=scale * pos, face=face), "points": Data(pos=scale * pos)}.items():
        picture(data, tmp_path / f"{name}.png")
        image = pixels(tmp_path / f"{name}.png")
        red, blue = (coloured(image) & (image.argmax(-1) == channel) for channel in (0, 2))
        assert float(red.float().mean()) > 0.005, name
        assert float(blue.float().mean()) > 0.005, name


def test_shapes_of_few_vertices(tmp_path):
    triangle = Data(pos=torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), face=torch.tensor([[0], [1], [2]]))
    two = Data(pos=torch.cat([triangle.pos, triangle.pos + 2]), face=torch.tensor([[0, 3], [1, 4], [2, 5]]))
    loose = Data(pos=torch.cat([triangle.pos, torch.rand(200, 3)]), face=triangle.face)
    for i, data in enumerate((triangle, two, loose, Data(pos=torch.eye(4)[:, :3]))):
        picture(data, tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 1000


def test_inspect_reads_all_digits_of_a_file(tmp_path, capsys, monkeypatch, sphere):
    from cotan import cli

    pos, face = sphere.pos, sphere.face
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in (pos.double() + 5e6).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (face.T + 1).tolist()]
    (tmp_path / "far.obj").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cotan", "inspect", "far.obj", "--k", "2"])
    with pytest.raises(SystemExit):
        cli.main()
    values = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("eigenvalues"))
    near = cotan.compute(Data(pos=pos.double(), face=face), "spectrum", k=2, dtype=torch.float64).values
    assert float(values.split(",")[1]) == pytest.approx(float(near[1]), rel=1e-3)


def test_functions_are_drawn_in_their_colours(sphere, tmp_path):
    cotan.draw(sphere, tmp_path / "one.png", sphere.pos[:, 1])
    image = pixels(tmp_path / "one.png")
    red, blue = (coloured(image) & (image.argmax(-1) == channel) for channel in (0, 2))
    rows = torch.arange(len(image)).float()
    assert (rows @ red.sum(1).float()) / red.sum() < (rows @ blue.sum(1).float()) / blue.sum()  # y is up
    sphere.pos.requires_grad_()  # as where a saliency was asked for
    cotan.draw(sphere, tmp_path / "one.png", sphere.pos[:, 1])
    assert torch.equal(pixels(tmp_path / "one.png"), image)
    cotan.draw(sphere, tmp_path / "large.png", sphere.pos[:, 1], size=960)
    assert pixels(tmp_path / "large.png").shape == (2 * len(image), 2 * image.shape[1], 3)
    cotan.draw(Data(pos=sphere.pos), tmp_path / "two.png", {"a": sphere.pos[:, 1], "b": (sphere.pos + 1) / 2})
    assert pixels(tmp_path / "two.png").shape[1] > 1.5 * image.shape[1]


def test_a_function_is_white_where_it_crosses_zero_inside_a_face(tmp_path):
    pos = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    square = Data(pos=pos, face=torch.tensor([[0, 1, 2], [0, 2, 3]]).T)
    cotan.draw(square, tmp_path / "a.png", {"": pos[:, 0], "its colours": diverging(pos[:, 0])}, up="y")
    image = pixels(tmp_path / "a.png")
    share = [coloured(half).sum() / (half.amin(-1) < 0.9).sum() for half in image.chunk(2, 1)]
    assert share[0] < share[1]  # a mean of blue and red is purple


def test_a_bar_beside_each_function_says_what_its_colours_are(sphere, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    bars, add = [], Figure.colorbar
    monkeypatch.setattr(Figure, "colorbar", lambda *a, **k: bars.append((a[1], k["extend"])) or add(*a, **k))
    y = sphere.pos[:, 1]
    values = {
        "f": y,
        "tenth": y / 10,
        "square": y**2,
        "label": (y > 0).long(),
        "color": (sphere.pos + 1) / 2,
        "0": 0 * y,
    }
    for limit, extended in ((None, ["both", "both", "max"]), (1.5, ["neither"] * 3)):
        bars.clear()
        cotan.draw(sphere, tmp_path / "a.png", values, limit=limit)
        assert [extend for _, extend in bars] == extended
        for (scale, _), f in zip(bars, list(values.values())[:3], strict=True):
            inside = f[(f >= scale.norm.vmin) & (f <= scale.norm.vmax)]
            shown = torch.from_numpy(scale.to_rgba(inside.numpy())[:, :3]).float()
            torch.testing.assert_close(shown, diverging(f, limit)[(f[:, None] == inside).any(1)], atol=0.01, rtol=0)
    assert [(round(scale.norm.vmin, 6), round(scale.norm.vmax, 6)) for scale, _ in bars] == [(-1.5, 1.5)] * 2 + [
        (0, 1.5)
    ]


def test_edges_of_a_graph_are_drawn_in_the_colours_of_their_ends(tmp_path, monkeypatch):
    ends = Data(pos=torch.tensor([[-1.0, 0, 0], [1, 0, 0]]), edge_index=torch.tensor([[0, 1, 0], [1, 0, 0]]))

    def columns():
        cotan.draw(ends, tmp_path / "a.png", torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
        image = pixels(tmp_path / "a.png")
        red, blue = (coloured(image) & (image[..., i] > image[..., 2 - i]) for i in (0, 2))
        return (red | blue).any(0), red.any(0).nonzero().amin() - blue.any(0).nonzero().amax()

    drawn, apart = columns()
    assert bool(drawn[drawn.nonzero().amin() : drawn.nonzero().amax()].float().mean() > 0.9)
    assert abs(apart) < 30  # where the two colours meet
    ends.edge_index = torch.tensor([[0, 0], [1, 0]])  # two edges, one of them a loop
    monkeypatch.setattr("cotan.inspect.RODS", 1)
    drawn, apart = columns()
    assert apart > 100
    ends.edge_index = torch.tensor([[0], [2]])  # which is the number of edge 1 to 0
    with pytest.raises(cotan.CotanError, match="edge_index out of range: vertex numbers 0 to 2, expected 0 to 1"):
        columns()


def test_a_limit_is_one_scale_for_all_pictures(sphere, tmp_path):
    def share(**options):
        cotan.draw(sphere, tmp_path / "a.png", {"f": sphere.pos[:, 1], "tenth": sphere.pos[:, 1] / 10}, **options)
        left, right = (float(coloured(half).float().sum()) for half in pixels(tmp_path / "a.png").chunk(2, 1))
        return right / left

    assert share() == pytest.approx(1, abs=0.1)
    assert share(limit=1.0) < 0.3
    for limit, values in (
        (0.0, sphere.pos[:, 0]),
        (float("nan"), sphere.pos[:, 0]),
        ("1", sphere.pos[:, 0]),
        (1.0, sphere.pos[:, 0].long()),
    ):
        with pytest.raises(cotan.CotanError, match=f"draw: limit={limit!r}, expected"):
            cotan.draw(sphere, tmp_path / "a.png", values, limit=limit)


def test_what_cannot_be_drawn_is_refused_in_one_line(sphere, tmp_path):
    pos, refused = sphere.pos, {}
    refused[r"draw: pos is \(642, 2\), expected vertices \(V, 3\)"] = pos[:, :2], pos[:, 0]
    refused[r"draw: pos is \(0, 3\), expected vertices \(V, 3\), one at least"] = pos[:0], pos[:0, 0]
    refused["draw: the points all lie at one place"] = pos[:1], pos[:1, 0]
    refused["draw: values is an empty dict, expected"] = pos, {}
    for message, (points, values) in refused.items():
        with pytest.raises(cotan.CotanError, match=f"^{message}"):
            cotan.draw(Data(pos=points), tmp_path / "a.png", values)
    with pytest.raises(cotan.CotanError, match="up is one of 'x', 'y', 'z'; got None"):
        cotan.draw(sphere, None, pos[:, 0], up=None)


def test_the_plugin_that_draws_is_named_where_it_is_missing(sphere, tmp_path, monkeypatch):
    monkeypatch.delitem(registry._state.definitions, ("operator", "views"))
    missing = "pictures are drawn by the plugin cotan_views, which is not loaded: "
    for draw in (picture, shaded_views):
        with pytest.raises(cotan.CotanError, match=f"^{missing}COTAN_PLUGINS=off leaves it out$"):
            draw(sphere, tmp_path / "a.png")
    monkeypatch.setitem(registry._state.failures, "views", "OSError: no such library")
    with pytest.raises(cotan.CotanError, match=f"^{missing}OSError: no such library$"):
        cotan.draw(sphere, tmp_path / "a.png", sphere.pos[:, 0])


def test_the_report_says_how_voxels_tell_inside(sphere, monkeypatch):
    assert "\nsolid voxels by: winding" in text(report(sphere))
    book = Data(pos=torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]]))
    book.face = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 3, 4]])
    assert report(book)["solid_voxels_by"] == "flood"
    book.pos *= 0
    assert "solid_voxels_by" not in report(book)
    monkeypatch.delitem(registry._state.definitions, ("operator", "voxel_report"))
    assert report(sphere).keys() - cotan.compute(sphere, "mesh_report").keys() == {"size"}


def test_the_report_says_the_size_along_each_axis(sphere):
    moved = sphere.clone()
    moved.pos = sphere.pos / (sphere.pos.amax(0) - sphere.pos.amin(0)) * torch.tensor([25.4, 2.0, 0.5]) + 8
    assert "size: 25.4 x 2 x 0.5" in text(report(moved)).splitlines()


def test_the_report_of_a_graph_counts_both_directions_as_one_edge():
    import networkx

    g = networkx.gnm_random_graph(40, 30, seed=1)
    g.add_edges_from([(3, 3), (5, 5)])
    degrees = dict(g.degree)  # a loop counts twice
    expected = {
        "vertices": 40,
        "edges": 32,
        "components": networkx.number_connected_components(g),
        "isolated_vertices": networkx.number_of_isolates(g),
        "self_loops": 2,
        "largest_degree": max(degrees.values()),
    }
    one_way = torch.tensor(list(g.edges)).T
    for edge_index in (one_way, one_way.flip(0), torch.cat([one_way, one_way.flip(0)], 1)):
        assert report(Data(edge_index=edge_index, num_nodes=40)) == expected
    assert report(Data(edge_index=one_way[:, :0], num_nodes=2)) == {
        "vertices": 2,
        "edges": 0,
        "components": 2,
        "isolated_vertices": 2,
        "self_loops": 0,
        "largest_degree": 0,
    }
    ball = torch.nn.functional.normalize(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    pos = torch.cat([ball, ball + 9, ball[:3]])
    assert report(Data(pos=pos)) == {"vertices": 203, "components": 2, "duplicate_vertices": 3}


def test_long_titles_are_whole_and_apart(sphere):
    title = "mean curvature of the part after ten steps of smoothing, in units of one by the radius"
    function = sphere.pos[:, 0]
    figure = cotan.draw(sphere, None, {title: function, 3: function, f"again\n{title}": function}, size=64)
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert len(boxes) == 3
    assert boxes[0].x0 > 0
    assert boxes[2].x1 < figure.bbox.x1
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
