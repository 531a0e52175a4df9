"""Every layer's gradients for many cotangents at once: by autograd's own vmap, by torch.vmap, and one after the other."""

import pytest
import torch

import cotan
from cotan.sparse import ReverseMode

DEFINITIONS = (cotan.registry.lookup("layer", name) for name in cotan.names("layer"))
NAMES = [d.name for d in DEFINITIONS if d.signal == "vertex" and d.target.__module__.startswith("cotan_")]
WIDTHS = (6, 40)  # 40 goes by blocks, where a layer has them


@pytest.fixture(scope="module")
def mesh():
    return cotan.testing.shapes.example("other-mesh")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_many_cotangents_at_once(name, width, mesh):
    torch.manual_seed(0)
    layer = cotan.create_layer(name, width, width).double().eval()
    x = torch.randn(mesh.num_nodes, width, dtype=torch.float64, requires_grad=True)
    y = layer(x, **cotan.inputs(layer, mesh))
    at = (x, *(p for p in layer.parameters() if p.requires_grad))
    cotangents = torch.randn(3, *y.shape, dtype=y.dtype)

    def pulled(cotangent, **options):
        return torch.autograd.grad(y, at, cotangent, retain_graph=True, **options)

    expected = [torch.stack(parts) for parts in zip(*map(pulled, cotangents), strict=True)]
    torch.testing.assert_close(list(pulled(cotangents, is_grads_batched=True)), expected)
    torch.testing.assert_close(list(torch.vmap(pulled)(cotangents)), expected)


@pytest.mark.parametrize("name", ["gat", "gaussian", "diffusion"])
def test_hessian_by_vmap(name, mesh):
    layer = cotan.create_layer(name, 2, 2, **({"k": 8} if name == "diffusion" else {})).double()
    nodes = cotan.inputs(layer, mesh)
    energy = lambda x: layer(x, **nodes)[:2].square().sum()  # noqa: E731
    x = torch.randn(mesh.num_nodes, 2, dtype=torch.float64)
    one_by_one, at_once = (torch.autograd.functional.hessian(energy, x, vectorize=v) for v in (False, True))
    torch.testing.assert_close(at_once, one_by_one)


class Alone(ReverseMode):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


class Pair(ReverseMode):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x * x, 3 * x

    @staticmethod
    def backward(ctx, g, unused):
        assert unused is None
        return (2 * ctx.saved_tensors[0] * g,)


@pytest.mark.parametrize("square", [Alone.apply, lambda x: Pair.apply(x)[0]])
def test_a_backward_may_give_one_tensor_and_get_none(square):
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(square(x), x, torch.eye(5, dtype=torch.float64), is_grads_batched=True)[0]
    torch.testing.assert_close(found, 2 * x.detach().diag())
