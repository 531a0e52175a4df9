import math
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import cotan
from cotan.operators import face_normals
from cotan_views.cameras import Cameras, cameras
from cotan_views.channels import CHANNELS
from cotan_views.normalise import normalise
from cotan_views.render import _parts, raster, render
from cotan_views.shading import vertex_normals

from .shapes import data, knot, load, soup, sphere

PLAIN = ("depth", "normals", "shaded", "silhouette", "position", "contours")


def grid(size, c):
    """Where pixel centres lie on the plane one unit before the eye: right and up, (H, W)."""
    at = ((torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1) / c.focal
    down, right = torch.meshgrid(at, at, indexing="ij")
    return right, -down


def test_a_sphere_in_perspective_is_as_far_as_geometry_says():
    c = cameras("icosphere", count=12)
    picture = render(*sphere(5), c, size=50, outputs=("depth", "silhouette", "position"))[0]
    right, up = grid(50, c)
    # |t (right, up, 1) - (0, 0, d)| = 1, the smaller solution.
    d, a = c.eye[0].norm(), right**2 + up**2 + 1
    under = d**2 - a * (d**2 - 1)
    expected = torch.where(under > 0, (d - under.clamp(min=0).sqrt()) / a, 0)
    sure = under.abs() > 0.02  # not on the rim, where the facets show
    for depth, silhouette, *position in picture:
        torch.testing.assert_close(depth[sure], expected[sure], atol=2e-3, rtol=0)
        assert torch.equal(silhouette, (depth > 0).double())
        length = torch.stack(position).norm(dim=0)[depth > 0]
        assert (length <= 1 + 1e-12).all()
        assert (length > 0.998).all()


def test_a_sphere_in_parallel_projection_and_its_smooth_normals():
    c = cameras("ring", count=3, projection="orthographic")
    picture = render(*sphere(4), c, size=41, outputs=("normals", "depth"), smooth=True)[0]
    right, up = grid(41, c)
    sure = right**2 + up**2 < 0.9
    towards = (1 - right**2 - up**2).clamp(min=0).sqrt()
    for nx, ny, nz, depth in picture:
        torch.testing.assert_close(nx[sure], right[sure], atol=1e-2, rtol=0)
        torch.testing.assert_close(ny[sure], up[sure], atol=1e-2, rtol=0)
        torch.testing.assert_close(nz[sure], towards[sure], atol=2e-2, rtol=0)
        torch.testing.assert_close(depth[sure], 2 - towards[sure], atol=1e-2, rtol=0)


def test_one_triangle_by_hand():
    # Seen from z = 2 under 90 degrees, a plane at z = 0 is 4 wide, and 8 pixels are 0.5 each.
    pos = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [-1, 1, 0]], dtype=torch.float64)
    c = cameras([(0, 0, 2)], fov=90.0, up="y")
    seen = raster(pos, torch.tensor([[0], [1], [2]]), c, size=8)
    # Columns 2 to 5 and rows 2 to 5 are the square, of which the triangle is the lower left, with the diagonal.
    expected = torch.full((8, 8), -1)
    expected[2:6, 2:6] = torch.ones(4, 4).tril().long() - 1
    assert torch.equal(seen.face[0, 0], expected)
    hit = expected == 0
    torch.testing.assert_close(seen.depth[0, 0], 2.0 * hit.double())
    torch.testing.assert_close(seen.barycentric[0, 0, 5, 2], torch.tensor([0.75, 0.125, 0.125], dtype=torch.float64))
    torch.testing.assert_close(seen.barycentric[0, 0, 5, 5], torch.tensor([0, 0.875, 0.125], dtype=torch.float64))
    assert (seen.barycentric[0, 0][~hit] == 0).all()


def test_of_two_faces_in_the_same_place_the_first_is_seen():
    pos, face = sphere(1)
    double = torch.cat((face.flip(0), face), 1)
    seen = raster(pos, double, cameras(), size=32).face
    assert seen.max() < face.shape[1]
    assert (seen >= 0).double().mean() > 0.3


def test_normals_face_the_viewer_whatever_the_winding():
    pos, face = knot()
    c = cameras("dodecahedron")
    flipped = face.clone()
    flipped[:, ::2] = face.flip(0)[:, ::2]
    a = render(pos, face, c, size=32, outputs=("normals", "shaded"))
    b = render(pos, flipped, c, size=32, outputs=("normals", "shaded"))
    torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_shading_is_phongs():
    pos, face = sphere(3)
    _, _, nz, light = render(pos, face, cameras(count=1), size=32, outputs=("normals", "shaded"))[0, 0]
    lit = light > 0
    angle = nz[lit].clamp(0, 1).acos()
    expected = 0.2 + 0.6 * angle.cos() + 0.2 * (2 * angle).cos().clamp(min=0) ** 16
    torch.testing.assert_close(light[lit], expected)
    assert light.max() <= 1


def test_channels_come_in_the_order_asked_for():
    pos, face = knot()
    single = {name: render(pos, face, cameras(), size=16, outputs=(name,)) for name in PLAIN}
    for order in (PLAIN, PLAIN[::-1], ("normals", "depth", "normals")):
        together = render(pos, face, cameras(), size=16, outputs=order)
        assert torch.equal(together, torch.cat([single[name] for name in order], 2))


@pytest.mark.parametrize("samples", [2, 3])
def test_supersampling_is_the_mean_of_a_larger_picture(samples):
    pos, face = knot()
    fine = render(pos, face, cameras(), size=16 * samples, outputs=PLAIN)
    blocks = fine.unflatten(-1, (16, samples)).unflatten(-3, (16, samples)).movedim(-3, -2).flatten(-2)
    seen = (blocks[:, :, :1] > 0).sum(-1)
    mean = blocks.mean(-1)
    # Of depth, normals and position over the samples that see the shape; of light, silhouette and lines over all.
    of_seen = blocks.sum(-1) / seen.clamp(min=1)
    expected = torch.cat((of_seen[:, :, :4], mean[:, :, 4:6], of_seen[:, :, 6:9], mean[:, :, 9:]), 2)
    torch.testing.assert_close(render(pos, face, cameras(), size=16, outputs=PLAIN, samples=samples), expected)
    assert ((seen > 0) & (seen < samples**2)).any()


def test_colors_are_those_of_the_point():
    pos, face = knot()
    outputs = ("color", "position")
    picture = render(pos, face, cameras(), size=20, outputs=outputs, color=torch.cat((pos, pos[:, :1] * 2), 1))
    torch.testing.assert_close(picture[:, :, :3], picture[:, :, 4:])
    torch.testing.assert_close(picture[:, :, 3], picture[:, :, 4] * 2)


def batched(shapes):
    count = torch.tensor([len(pos) for pos, _ in shapes])
    offset = count.cumsum(0) - count
    face = torch.cat([f + o for (_, f), o in zip(shapes, offset, strict=True)], 1)
    return torch.cat([pos for pos, _ in shapes]), face, torch.repeat_interleave(count)


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("budget", [None, 100, 3000])
def test_a_shape_does_not_see_the_rest_of_its_batch(projection, budget):
    shapes = [knot(), soup(), sphere(1), soup(3, seed=1), knot(30, 8)]
    c = cameras(projection=projection, count=5)
    pos, face, batch = batched(shapes)
    together = render(pos, face, c, size=24, outputs=PLAIN, batch=batch, budget=budget)
    assert together.shape == (5, 5, 10, 24, 24)
    for shape, alone in zip(shapes, together, strict=True):
        assert torch.equal(render(*shape, c, size=24, outputs=PLAIN)[0], alone)


def test_raster_numbers_the_faces_of_a_batch():
    shapes = [knot(), sphere(1)]
    pos, face, batch = batched(shapes)
    seen = raster(pos, face, cameras(), size=24, batch=batch)
    alone = raster(*shapes[1], cameras(), size=24)
    assert torch.equal(seen.face[1], torch.where(alone.face[0] < 0, -1, alone.face[0] + shapes[0][1].shape[1]))
    assert torch.equal(seen.barycentric[1], alone.barycentric[0])


def test_a_shape_of_a_batch_without_faces_has_empty_pictures():
    pos, face = sphere(1)
    batch = torch.arange(3).repeat_interleave(len(pos))
    pictures = render(pos.repeat(3, 1), face + len(pos), cameras(), size=8, outputs=PLAIN, batch=batch)
    assert torch.equal(pictures[1], render(pos, face, cameras(), size=8, outputs=PLAIN)[0])
    assert not pictures[::2].any()


def test_threads_do_not_change_the_result():
    pos, face, batch = batched([knot(), soup(), sphere(2)])
    before = torch.get_num_threads()
    pictures = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            painted = render(pos, face, cameras(), size=32, outputs=PLAIN, batch=batch, budget=10_000)
            pictures.append((painted, *raster(pos, face, cameras(), size=32, batch=batch, budget=10_000)))
            assert torch.get_num_threads() == threads
            with pytest.raises(cotan.CotanError):
                render(pos, face, cameras(), batch=batch.flip(0))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*pictures, strict=True))


def test_it_works_in_inference_mode_and_in_single_precision():
    pos, face = knot()
    expected = render(pos, face, cameras(), size=32)
    with torch.inference_mode():
        assert torch.equal(render(pos, face, cameras(), size=32, budget=2000), expected)
    single = render(pos.float(), face, cameras(), size=32)
    assert single.dtype == torch.float32
    assert (single - expected).abs().gt(1e-4).double().mean() < 1e-3


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize(
    ("outputs", "smooth"),
    [
        (("depth",), False),
        (("normals", "shaded"), False),
        (("normals", "shaded"), True),
        (("position", "silhouette"), False),
        (("color",), False),
    ],
)
def test_gradients_reach_the_vertices(projection, outputs, smooth):
    pos, face = soup(6)
    color = torch.rand(len(pos), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    c = cameras(projection=projection, count=2)

    def picture(p, k):
        return render(p, face, c, size=5, outputs=outputs, color=k, smooth=smooth, samples=2)

    assert torch.autograd.gradcheck(picture, (pos.requires_grad_(), color))
    if outputs != ("silhouette",):
        gradient = torch.autograd.grad(picture(pos, color).square().sum(), pos)[0]
        assert gradient.abs().sum() > 0


def test_gradients_reach_the_colors_from_all_parts():
    pos, face = knot()
    color = torch.ones(len(pos), 1, dtype=torch.float64, requires_grad=True)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        picture = render(pos, face, cameras(), size=32, outputs=("color",), color=color, budget=10_000)
    finally:
        torch.set_num_threads(before)
    # Each pixel is a mean of its corners' colours, so its gradients sum to one.
    torch.testing.assert_close(torch.autograd.grad(picture.sum(), color)[0].sum(), picture.detach().sum())


def test_gradients_reach_the_cameras(monkeypatch):
    pos, face = soup(6)

    def pictures(eye):
        c = cameras(eye)
        soft = render(pos, face, c, size=8, outputs=("silhouette", "normals", "depth"), softness=2.0, budget=80)
        return soft, raster(pos, face, c, size=8, budget=80).depth

    eye = torch.tensor([[1.9, 1.2, 1.0], [-1.0, 2.1, 0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pictures, eye, fast_mode=True)
    # Threads that write into one tensor would lose derivatives now and then.
    monkeypatch.setattr(cotan, "threads", lambda: 3)
    monkeypatch.delattr(sys.modules["cotan_views.render"], "ThreadPoolExecutor")
    assert all(picture.requires_grad for picture in pictures(eye))
    with pytest.raises(NameError):
        pictures(eye.detach())


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_forward_mode_is_the_transpose_of_reverse_mode(projection, monkeypatch):
    monkeypatch.setattr(cotan, "threads", lambda: 3)
    pos, face = knot(30, 8)
    generator = torch.Generator().manual_seed(0)
    outputs, c = (
        ("depth", "normals", "shaded", "silhouette", "position", "color"),
        cameras(projection=projection, count=5),
    )

    def picture(pos):
        return render(pos, face, c, size=16, outputs=outputs, color=pos, smooth=True, softness=2.0, budget=1000)

    direction = torch.randn(pos.shape, dtype=torch.float64, generator=generator)
    value, change = cotan.autodiff.forward(picture, pos, direction)
    weight = torch.randn(value.shape, dtype=torch.float64, generator=generator)
    gradient = cotan.autodiff.reverse(picture, pos, weight)[1]
    assert change.abs().amax((0, 1, 3, 4)).min() > 0  # of each channel
    torch.testing.assert_close((weight * change).sum(), (gradient * direction).sum())


def test_the_gradient_of_a_part_is_no_larger_than_the_part():
    large = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            large.extend([func] * (isinstance(out, torch.Tensor) and not out._is_view() and out.numel() >= whole))
            return out

    pos, face = knot()
    picture = render(pos.requires_grad_(), face, cameras(), size=96, budget=11_000)  # a part is one view
    whole = picture.numel()
    total = picture.sum()
    with Sizes():
        total.backward()
    assert len(large) < 4


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("focal", [1.6, [1.6, 1.3]])
def test_gradients_reach_the_focal_length(projection, focal):
    pos, face = soup(6)
    rig = cameras([[1.9, 1.2, 1.0], [-1.0, 2.1, 0.9]], projection=projection)
    outputs = {"size": 8, "outputs": ("silhouette", "normals", "depth", "position"), "softness": 2.0}

    def pictures(focal):
        c = rig._replace(focal=focal)
        return render(pos, face, c, **outputs), raster(pos, face, c, size=8).barycentric

    given = torch.tensor(focal, dtype=torch.float64)
    assert torch.autograd.gradcheck(pictures, given.requires_grad_())
    if given.ndim == 0:
        torch.testing.assert_close(pictures(given), pictures(focal))
    for wrong in (torch.ones(3), given * math.nan):
        with pytest.raises(cotan.CotanError, match="focal is a finite number, or one for each of 2 cameras; got"):
            pictures(wrong)


def test_a_camera_with_a_matrix_of_its_own():
    pos, face = knot()
    pos = pos + torch.tensor([0.1, 0.3, -0.2])
    size, m = 64, 31.5
    K = torch.tensor([[60.0, 2.0, 20.0], [0, 75.0, 40.0], [0, 0, 1]], dtype=torch.float64)  # skewed, and off the middle
    R, t = cameras([(1, 2, 0.5)]).axes[0] * torch.tensor([[1], [-1], [1]]), torch.tensor([0.1, -0.2, 3.0]).double()
    to_picture = torch.tensor([[1.0, 0, -m], [0, -1, m], [0, 0, size / 2]], dtype=torch.float64) / (size / 2)
    c = Cameras((-R.T @ t)[None], (to_picture @ K @ R)[None], 1.0, True)

    seen = raster(pos, face, c, size=size)
    row, column = (seen.face[0, 0] >= 0).nonzero().T
    number = seen.face[0, 0, row, column]
    points = torch.einsum("pk,kpc->pc", seen.barycentric[0, 0, row, column], pos[face[:, number]])
    x, y, depth = K @ (R @ points.T + t[:, None])
    assert len(row) > 500
    torch.testing.assert_close(torch.stack((x, y)) / depth, torch.stack((column, row)).double())
    torch.testing.assert_close(depth, seen.depth[0, 0, row, column])

    normals = render(pos, face, c, size=size, outputs=("normals",))[0, 0][:, row, column].T
    straight = face_normals(pos, face)[number] @ (R * torch.tensor([[1], [-1], [-1]])).T
    torch.testing.assert_close(normals * (normals * straight).sum(1, keepdim=True).sign(), straight)


def test_pictures_with_and_without_gradient_are_the_same():
    pos, face = knot()
    for projection in ("perspective", "orthographic"):
        c = cameras(projection=projection)
        plain = render(pos, face, c, size=24, outputs=PLAIN)
        recorded = render(pos.clone().requires_grad_(), face, c, size=24, outputs=PLAIN)
        torch.testing.assert_close(plain, recorded.detach(), atol=1e-11, rtol=0)


def test_what_is_behind_the_eye_is_not_seen_and_what_reaches_past_it_is_cut():
    # A floor from far before to far behind the eye: depth along the row of a pixel is height / slope of its ray.
    pos = torch.tensor([[-9.0, -9, -0.5], [9, -9, -0.5], [9, 9, -0.5], [-9, 9, -0.5]], dtype=torch.float64)
    c = cameras([(0.2, 0, 0)], fov=90.0)  # looks along -x, z is up
    depth, silhouette = render(
        pos, torch.tensor([[0, 0], [1, 2], [2, 3]]), c, size=64, outputs=("depth", "silhouette")
    )[0, 0]
    _, up = grid(64, c)
    expected = 0.5 / -up
    seen = (up < 0) & (expected < 9.2)
    assert torch.equal(silhouette > 0, seen)
    torch.testing.assert_close(depth[seen], expected[seen])
    wall = torch.tensor([[0.0, -9, -9], [0, 9, -9], [0, 0, 9]], dtype=torch.float64)  # two thousandths before the eye
    depth = render(wall, torch.tensor([[0], [1], [2]]), cameras([(0.002, 0, 0)]), size=8, outputs=("depth",))
    torch.testing.assert_close(depth, torch.full_like(depth, 0.002))


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_a_vertex_without_faces_may_lie_anywhere(projection):
    pos, face = knot()
    c = cameras(projection=projection)
    astray = torch.cat((pos, torch.tensor([[1e30, -1e30, 1e30], [0, 0, -1e9]], dtype=torch.float64)))
    assert torch.equal(render(astray, face, c, size=24, outputs=PLAIN), render(pos, face, c, size=24, outputs=PLAIN))


def test_normals_of_vertices_are_those_of_the_operator():
    pos, face = soup(20)
    # Corners that several faces of different area share.
    face = face.flatten()[torch.arange(60) * 7 % 60].view(3, 20) % 11
    found = torch.nn.functional.normalize(vertex_normals(pos, face), dim=1)
    torch.testing.assert_close(found, cotan.operators.vertex_normals(pos, face))


def test_what_looks_away_from_the_picture_has_ambient_light_only():
    # Seen from inside, a wall at the right that leans outwards as it goes away.
    pos = torch.tensor([[0.9, -1, 1], [0.9, 1, 1], [1.2, 0, -1]], dtype=torch.float64)
    c = cameras([(0, 0, 2)], up="y", fov=90.0)
    shaded, *_, back = render(pos, torch.tensor([[0], [1], [2]]), c, size=32, outputs=("shaded", "normals"))[0, 0]
    assert (back < 0).sum() > 50
    assert (shaded[back < 0] == 0.2).all()


def test_degenerate_faces_and_needles_leave_pictures_finite():
    pos, face = sphere(1)
    odd = torch.tensor([[0, 0, 0], [0, 1, 1], [0, 1, 2]])
    thin = torch.cat((pos, pos[:1] + 1e-13, pos[1:2] + 1e-300))
    needles = torch.tensor([[0, 3], [1, 4], [len(pos), len(pos) + 1]])
    for smooth in (False, True):
        picture = render(
            thin, torch.cat((odd, face, needles), 1), cameras("dodecahedron"), size=48, outputs=PLAIN, smooth=smooth
        )
        assert picture.isfinite().all()


def test_real_meshes_give_a_result_or_one_clear_refusal():
    refused = {}
    for path in data("meshes/hard/*", "modelnet10_micro/*/test/*"):
        pos, face = load(path)
        try:
            views = render(normalise(pos, face), face, cameras(), size=32, outputs=PLAIN)
        except cotan.CotanError as error:
            refused[path.name] = str(error)
        else:
            assert views.isfinite().all(), path.name
            assert (views[0, :, 5] > 0).any(), path.name
    assert set(refused) == {"degenerate_mesh.obj"}
    assert "area zero" in refused["degenerate_mesh.obj"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("dept",)}, "unknown output 'dept'. Did you mean 'depth'.*normals"),
        ({"outputs": ()}, "one or more"),
        ({"outputs": "depth"}, "list"),
        ({"outputs": ("color",)}, "colours"),
        ({"size": 0}, "size=0, expected a whole number"),
        ({"size": 10**6}, "size=1000000 with samples=1, expected a product of at most 8192"),
        ({"size": 5000, "samples": 2}, "size=5000 with samples=2, expected a product of at most 8192"),
        ({"samples": 1.5}, "samples=1.5, expected a whole number"),
        ({"size": True}, "size=True, expected a whole number of at least 1"),
        ({"softness": 1.0}, "softness is that of the output 'silhouette'"),
        ({"smooth": True, "outputs": ("depth", "silhouette")}, "smooth is for .* normals, shaded, contours, none of"),
        ({"softness": -1.0, "outputs": ("silhouette",)}, "from 0; got -1"),
        ({"softness": "1", "outputs": ("silhouette",)}, "from 0; got '1'"),
        ({"batch": [0]}, "batch is a tensor; got list"),
        ({"batch": torch.zeros(42).bool()}, "number of each vertex's shape"),
        ({"color": [], "outputs": ("color",)}, "color is a tensor; got list"),
        ({"batch": torch.tensor([1, 0] * 21)}, "ascend"),
        ({"batch": torch.tensor([0, 1]).repeat_interleave(21)}, "with their faces"),  # some have corners of both
        ({"batch": torch.zeros(41, dtype=torch.int64)}, "number of each vertex's shape"),
        ({"batch": torch.zeros(42)}, "number of each vertex's shape"),
        ({"batch": torch.full((42,), -1)}, "number of each vertex's shape"),
        ({"color": torch.zeros(3, 2)}, "V = 42"),
        ({"color": torch.zeros(42), "outputs": ("color",)}, r"V, K.*got shape \(42,\)"),
        ({"color": torch.full((42, 1), math.nan), "outputs": ("color",)}, "finite"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(cotan.CotanError, match=message):
        render(*sphere(1), cameras(), **options)


@pytest.mark.parametrize(
    ("pos", "face", "message"),
    [
        (None, torch.zeros(3, 1, dtype=torch.int64), "pos is a tensor; got NoneType"),
        (torch.zeros(3, 3), [], "face is a tensor; got list"),
        (torch.zeros(3, 2), torch.zeros(3, 1, dtype=torch.int64), r"\(V, 3\)"),
        (torch.full((3, 3), math.nan), torch.tensor([[0], [1], [2]]), "finite"),
        (torch.rand(3, 3), torch.zeros(3, 0, dtype=torch.int64), "at least one"),
        (torch.rand(3, 3), torch.tensor([[0], [1], [3]]), "face out of range: vertex numbers 0 to 3, expected 0 to 2"),
        (
            torch.rand(3, 3),
            torch.tensor([[0], [1], [-1]]),
            "face out of range: vertex numbers -1 to 1, expected 0 to 2",
        ),
        (torch.ones(3, 3, dtype=torch.int64), torch.tensor([[0], [1], [2]]), "real and finite; got torch.int64"),
        (torch.rand(3, 3), torch.tensor([[0], [1], [2]], dtype=torch.int32), "int64, of at least one; got torch.int32"),
    ],
)
def test_wrong_shapes_are_refused(pos, face, message):
    for draw in (render, raster):
        with pytest.raises(cotan.CotanError, match=message):
            draw(pos, face, cameras())


def test_cameras_are_one_eye_and_three_axes_each():
    c = cameras(count=3)
    for wrong in (
        c._replace(axes=c.axes[:1]),
        c._replace(eye=c.eye[0]),
        c._replace(eye=c.eye * math.nan),
        cameras()[:0],
    ):
        for draw in (render, raster):
            with pytest.raises(cotan.CotanError, match=r"cameras have eye .* and axes|cameras are what"):
                draw(*sphere(1), wrong)


def test_cameras_are_those_of_a_rig():
    for draw in (render, raster):
        with pytest.raises(cotan.CotanError, match="cameras are what `cameras` gives; got 'ring'"):
            draw(*sphere(1), "ring")


@pytest.mark.cuda
@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_cuda_gives_the_same(name, gpu):
    pos, face = knot()
    options = {"size": 64, "outputs": (name,), "softness": 2.0 if name == "silhouette" else 0.0}
    here = render(pos, face, cameras(), color=pos, **options)
    there = render(pos.cuda(), face.cuda(), cameras(), color=pos.cuda(), **options).cpu()
    assert ((here - there).abs() > 1e-6).double().mean() < 1e-4


@pytest.mark.parametrize("count", [9, 64])
def test_many_shapes_are_shared_out_evenly(count):
    pos, face = sphere(2)
    batch = torch.arange(count).repeat_interleave(len(pos))
    faces = torch.cat([face + i * len(pos) for i in range(count)], 1)
    parts, shapes = _parts(pos.repeat(count, 1), faces, cameras(), batch, None, 64, 2**19, 2)
    sizes = [part.shapes.stop - part.shapes.start for part in parts]
    assert shapes == sum(sizes) == count
    assert len(parts) % 2 == 0
    assert max(sizes) - min(sizes) <= 1
    assert all(part.views == slice(0, 12) for part in parts)
