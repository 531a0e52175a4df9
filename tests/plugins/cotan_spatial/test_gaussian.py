import math

import pytest
import torch
from torch_geometric.data import Data

import cotan

SIZE = 12


def graph(dim=2, seed=0, edges=60):
    g = torch.Generator().manual_seed(seed)
    index = torch.randint(0, SIZE - 2, (2, edges), generator=g)
    return Data(edge_index=index, edge_attr=torch.randn(edges, dim, generator=g), num_nodes=SIZE)


def on_features(in_dim=3, out_dim=4, dim=2, **options):
    torch.manual_seed(0)
    return cotan.create_layer("gaussian", in_dim, out_dim, coordinates="edge_attr", dim=dim, **options)


def test_two_neighbours_by_hand():
    """Two edges reach vertex 2, at the centre of the one Gaussian and at distance one: the mean of 1 x_0 and x_1 / e."""
    data = Data(
        edge_index=torch.tensor([[1, 0], [2, 2]]), edge_attr=torch.tensor([[3.0, 1.0], [2.0, 1.0]]), num_nodes=3
    )
    layer = on_features(1, 1, kernels=1, root=False, bias=False)
    with torch.no_grad():
        layer.mean.copy_(torch.tensor([[2.0, 1.0]]))
        layer.weight.fill_(1.0)
    y = layer(torch.tensor([[4.0], [10.0], [100.0]]), **cotan.inputs(layer, data))
    torch.testing.assert_close(y, torch.tensor([[0.0], [0.0], [(4 + 10 / math.e) / 2]]))


@pytest.mark.parametrize("dims", [(3, 4), (4, 3), (3, 3)])  # the narrower side is gathered; even ones go by blocks
def test_the_order_of_the_edges_does_not_matter(dims):
    data = graph()
    layer = on_features(*dims)
    order = torch.randperm(data.num_edges)
    other = Data(edge_index=data.edge_index[:, order], edge_attr=data.edge_attr[order], num_nodes=SIZE)
    x = torch.randn(SIZE, dims[0])
    expected = layer(x, **cotan.inputs(layer, data))
    torch.testing.assert_close(layer(x, **cotan.inputs(layer, other)), expected)
    unmatched = Data(edge_index=data.edge_index[:, order], edge_attr=data.edge_attr, num_nodes=SIZE)
    assert (layer(x, **cotan.inputs(layer, unmatched)) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("dims", [(3, 4), (4, 3), (3, 3)])
def test_an_edge_after_the_other(dims):
    data, layer, x = graph(), on_features(*dims, kernels=3), torch.randn(SIZE, dims[0])
    torch.nn.init.normal_(layer.bias)
    with torch.no_grad():
        y = layer(x, **cotan.inputs(layer, data))
        expected = x @ layer.root.weight.T + layer.bias
        incoming = torch.bincount(data.edge_index[1], minlength=SIZE)
        for (j, i), u in zip(data.edge_index.T.tolist(), data.edge_attr, strict=True):
            for W, mean, p in zip(layer.weight, layer.mean, layer.factor, strict=True):
                expected[i] += math.exp(-float(((p * (u - mean)) ** 2).sum())) * (x[j] @ W) / incoming[i]
    torch.testing.assert_close(y, expected)


def test_a_gradient_through_weights_that_do_not_learn():
    data, layer = graph(), on_features(3, 3)
    x = torch.randn(SIZE, 3, requires_grad=True)
    nodes, gradients = cotan.inputs(layer, data), []
    for learns in (True, False):
        gradients += torch.autograd.grad(layer.requires_grad_(learns)(x, **nodes).square().sum(), x)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dims", [(3, 4), (4, 3), (3, 3)])
def test_derivatives(dims):
    data = graph()
    layer = on_features(*dims, kernels=2).double()
    nodes = {name: m.to(dtype=torch.float64) for name, m in cotan.inputs(layer, data).items()}
    names, at = zip(*layer.named_parameters())

    def function(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters)), (x,), nodes)

    x = torch.randn(SIZE, dims[0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, *at), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x, *at), fast_mode=True)
    some = (x.detach(), *at[:1], *(a.detach() for a in at[1:]))
    assert torch.autograd.gradgradcheck(function, some, fast_mode=True)


def test_a_full_covariance_turns_with_the_coordinates():
    data, layer = graph(dim=3), on_features(dim=3, covariance="full")
    with torch.no_grad():
        layer.factor.add_(0.3 * torch.randn(layer.factor.shape))
    x = torch.randn(SIZE, 3)
    before = layer(x, **cotan.inputs(layer, data))
    q, _ = torch.linalg.qr(torch.randn(3, 3))
    data.edge_attr = data.edge_attr @ q.T
    assert (layer(x, **cotan.inputs(layer, data)) - before).abs().max() > 1e-3
    with torch.no_grad():
        layer.mean.copy_(layer.mean @ q.T)
        layer.factor.copy_(layer.factor @ q.T)
    torch.testing.assert_close(layer(x, **cotan.inputs(layer, data)), before)


def test_a_diagonal_covariance_is_a_full_one():
    data, x = graph(), torch.randn(SIZE, 3)
    diagonal, full = on_features(), on_features(covariance="full")
    with torch.no_grad():
        diagonal.factor.uniform_(0.5, 2)
    state = diagonal.state_dict()
    full.load_state_dict({**state, "factor": state["factor"].diag_embed()})
    torch.testing.assert_close(full(x, **cotan.inputs(full, data)), diagonal(x, **cotan.inputs(diagonal, data)))


def test_default_coordinates(tetrahedron):
    """Polar on a mesh, degrees on a graph, with positions too; both are two numbers."""
    plain = Data(edge_index=graph().edge_index, num_nodes=SIZE)
    placed = Data(edge_index=plain.edge_index, pos=torch.randn(SIZE, 3))
    for data, kind in ((tetrahedron, "polar"), (plain, "degree"), (placed, "degree")):
        torch.manual_seed(0)
        plain = cotan.create_layer("gaussian", 3, 4)
        named = cotan.create_layer("gaussian", 3, 4, coordinates=kind)
        named.load_state_dict(plain.state_dict())
        x = torch.randn(data.num_nodes, 3)
        torch.testing.assert_close(plain(x, **cotan.inputs(plain, data)), named(x, **cotan.inputs(named, data)))
    offset = cotan.create_layer("gaussian", 3, 4, coordinates="offset")
    assert offset.mean.shape == (8, 3)
    assert offset(torch.randn(4, 3), **cotan.inputs(offset, tetrahedron)).shape == (4, 4)


def test_units_play_no_part(tetrahedron):
    """In millimetres, too, the kernels see the edges: the gradient of W would be zero."""
    tetrahedron.x = torch.randn(4, 3)
    large = tetrahedron.clone()
    large.pos = 1000 * tetrahedron.pos
    for kind in (None, "tangent", "geodesic"):
        layer = cotan.create_layer("gaussian", 3, 4, root=False, bias=False, coordinates=kind)
        y = cotan.apply(layer, large)
        torch.testing.assert_close(y, cotan.apply(layer, tetrahedron))
        assert torch.autograd.grad(y.square().sum(), layer.weight)[0].abs().max() > 1e-3


def grid(n):
    """The faces on n x n vertices."""
    i = torch.arange(n * n).view(n, n)
    low, right, up, far = (part.flatten() for part in (i[:-1, :-1], i[:-1, 1:], i[1:, :-1], i[1:, 1:]))
    return torch.cat([torch.stack([low, right, up]), torch.stack([right, far, up])], 1)


def sheet(seed=0):
    """A flat, convex piece of triangles that are nearly equilateral, no three vertices on a line."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    moved = torch.nn.functional.pad(0.1 * torch.rand(2, 4, 4, generator=g), (1, 1, 1, 1)).flatten(1).T
    flat = torch.stack([x + y / 2 - 3.75, 0.75**0.5 * (y - 2.5)], -1).view(36, 2) + moved
    flat = flat * (1 - 0.003 * flat.square().sum(1, keepdim=True))
    return Data(pos=7 * torch.nn.functional.pad(flat, (0, 1)), face=grid(6))


@pytest.mark.parametrize("rings", [1, 3, None])
def test_geodesic_patches_of_the_plane_are_discs_of_it(rings):
    """The same layer on a graph whose edges are the pairs, their radii and angles those of the plane."""
    data = sheet()
    steps = cotan.compute(data, "adjacency").to_dense() + torch.eye(36)
    near = torch.linalg.matrix_power(steps, rings or 2) * (1 - torch.eye(36))
    centre, other = near.nonzero().T
    offset = cotan.compute(data, "tangent_frames")[centre] @ (data.pos[other] - data.pos[centre])[..., None]
    x, y = offset[:, :2, 0].T
    radius = torch.hypot(x, y)
    polar = torch.stack([radius / radius.square().mean().sqrt(), torch.atan2(y, x)], 1)
    graph = Data(edge_index=torch.stack([other, centre]), edge_attr=polar, num_nodes=36)
    layer, expected = cotan.create_layer("gaussian", 3, 4, coordinates="geodesic", rings=rings), on_features()
    layer.load_state_dict(expected.state_dict())
    x, nodes = torch.randn(36, 3), cotan.inputs(layer, data)
    torch.testing.assert_close(layer(x, **nodes), expected(x, **cotan.inputs(expected, graph)))
    both, again = cotan.inputs(layer, [data, sheet(1)]), torch.cat([x, x])
    torch.testing.assert_close(layer(again, **both)[36:], layer(x, **cotan.inputs(layer, sheet(1))))


def test_positions_in_the_plane():
    data, x = Data(edge_index=graph().edge_index, pos=torch.randn(SIZE, 2)), torch.randn(SIZE, 3)
    layer = cotan.create_layer("gaussian", 3, 4, coordinates="relative", dim=2)
    y = layer(x, **cotan.inputs(layer, data))
    data.pos = 7 * data.pos + 1
    torch.testing.assert_close(layer(x, **cotan.inputs(layer, data)), y)


def test_the_turn_in_which_a_neighbour_lies_at_a_gaussian_counts():
    layer = cotan.create_layer("gaussian", 1, 2, coordinates="polar", kernels=1, turns=4, root=False, bias=False)
    with torch.no_grad():
        layer.mean.copy_(torch.tensor([[1.0, 0.5]]))
        layer.weight.copy_(torch.tensor([[[1.0, -1.0]]]))
    around = torch.tensor([0.5, 1.5 * math.pi + 0.5, math.pi / 4 + 0.5]) - math.pi
    edges = torch.stack([torch.tensor([3, 3, 3]), torch.arange(3)])
    u = cotan.compute(
        Data(edge_index=edges, edge_attr=torch.stack([torch.ones(3), around], 1), num_nodes=4),
        cotan.node("edge_coordinates", pseudo_coordinates="edge_attr"),
    )
    # Where a quarter turn leads to the Gaussian, its whole weight; half way between two quarters, that of an eighth.
    # The other channel is negative: its largest is that of the turn farthest away.
    y, eighth = layer(torch.ones(4, 1), u), math.pi / 4
    torch.testing.assert_close(y[:3, 0], torch.tensor([0.0, 0.0, -(eighth**2)]).exp())
    torch.testing.assert_close(y[:3, 1], -torch.tensor([-(math.pi**2), -(math.pi**2), -((3 * eighth) ** 2)]).exp())


def test_with_turns_the_order_of_the_vertices_does_not_matter():
    """On a grid edges are equally long, and which is the first is the order's choice: a multiple of an eighth turn."""
    x, y = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    face = grid(8)
    pos, signal = torch.stack([x, y, 0 * x], -1).view(64, 3), torch.randn(64, 3)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    data, other = Data(pos=pos, face=face, x=signal), Data(pos=pos[order], face=order.argsort()[face], x=signal[order])
    for coordinates in ("polar", "geodesic"):
        for turns in (1, 8):
            torch.manual_seed(0)
            layer = cotan.create_layer("gaussian", 3, 4, coordinates=coordinates, turns=turns)
            off = (cotan.apply(layer, data)[order] - cotan.apply(layer, other)).abs().max()
            assert off > 0.1 if turns == 1 else off < 1e-5


def test_errors():
    layer = cotan.create_layer("gaussian", 3, 4, coordinates="edge_attr", dim=3)
    with pytest.raises(cotan.CotanError, match="dim=3, but the coordinates of an edge are 2 numbers"):
        layer(torch.zeros(SIZE, 3), **cotan.inputs(layer, graph(dim=2)))
    with pytest.raises(cotan.CotanError, match="covariance='round', expected 'diagonal' or 'full'"):
        cotan.create_layer("gaussian", 3, 4, covariance="round")
    with pytest.raises(cotan.CotanError, match="kernels=0, expected a whole number of at least 1"):
        cotan.create_layer("gaussian", 3, 4, kernels=0)
    with pytest.raises(cotan.CotanError, match="rings=2 goes with coordinates='geodesic', not 'polar'"):
        cotan.create_layer("gaussian", 3, 4, coordinates="polar", rings=2)
    for coordinates in (None, "tangent"):
        with pytest.raises(cotan.CotanError, match="turns=2 goes with coordinates='polar' or 'geodesic', not "):
            cotan.create_layer("gaussian", 3, 4, coordinates=coordinates, turns=2)
    with pytest.raises(cotan.CotanError, match="rings=0, expected a whole number of at least 1"):
        cotan.create_layer("gaussian", 3, 4, coordinates="geodesic", rings=0)
    data = graph()
    for attr, shape in ((data.edge_attr[:7], r"\(7, 2\)"), (torch.tensor(1.0), r"\(\)")):
        data.edge_attr = attr
        with pytest.raises(cotan.CotanError, match=f"expected numbers for each of 60 edges, got {shape}"):
            cotan.inputs(on_features(), data)
    with pytest.raises(cotan.CotanError, match=r"Did you mean 'gaussian' \(monet\)"):
        cotan.create_layer("monet", 3, 4)
    kinds = r"unknown node 'tangnt'(.*\n)*'pseudo_coordinates' there is of kind='polar'; .*kind='geodesic'$"
    with pytest.raises(cotan.CotanError, match=kinds):
        cotan.inputs(cotan.create_layer("gaussian", 3, 4, coordinates="tangnt"), data)


@pytest.mark.parametrize(
    ("coordinates", "motions"),
    [
        ("offset", set()),
        ("relative", {"scale"}),
        ("tangent", {"rigid", "scale"}),
        ("degree", {"isometry", "scale"}),
        ("geodesic", {"rigid", "scale"}),
    ],
)
def test_its_coordinates_say_which_motions_it_does_not_see(coordinates, motions):
    report = cotan.testing.check_layer("gaussian", coordinates=coordinates, compile=False)
    assert {what for what in report.passed if "invariance" in what} == {f"declared invariance to {m}" for m in motions}


@pytest.mark.cuda
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("dims", [(3, 4), (4, 3), (3, 3)])
def test_all_kernels_at_once_on_a_gpu(dims, covariance, gpu):
    """As one after the other on the CPU, with first and second derivatives."""

    def derivatives(place):
        torch.manual_seed(0)
        data = graph().to(place)
        layer = on_features(*dims, kernels=3, covariance=covariance).double().to(place)
        x = torch.randn(SIZE, dims[0], dtype=torch.float64).to(place).requires_grad_()
        leaves = [x, *layer.parameters()]
        nodes = {name: m.to(dtype=torch.float64) for name, m in cotan.inputs(layer, data).items()}
        y = layer(x, **nodes)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        kernel = layer.kernel_at(data.edge_attr[:5].double())
        return [t.detach().cpu() for t in (y, *first, *second, kernel)]

    torch.testing.assert_close(derivatives(gpu), derivatives("cpu"))
