"""The pretended device refuses what a GPU refuses, and the test kit finds unclean code by it. On a GPU, the GPU does."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import cotan
from cotan.testing import another_device, check_layer, check_model, check_operator, mixed_precision

pytestmark = pytest.mark.cuda


def test_it_is_no_cpu(gpu):
    made = [
        torch.ones(2, device=gpu),
        torch.tensor([1, 2], device="cuda"),
        torch.as_tensor(np.ones(2), device=gpu),
        torch.ones(2).to(gpu),
        torch.ones(2).cuda(),
        torch.ones(2).to(torch.ones(1, device=gpu)),
        torch.randn(2, 2, device=gpu).new_tensor([1.0, 2.0]),
        torch.zeros_like(torch.ones(2, device=gpu)),
    ]
    assert {(t.device, t.is_cuda) for t in made} == {(torch.device("cuda:0"), True)}
    assert made[1].tolist() == [1, 2]
    assert torch.zeros(2).device.type == made[0].cpu().device.type == made[0].to("cpu").device.type == "cpu"


def test_what_depends_on_numbers_works(gpu):
    x = torch.tensor([3.0, -1.0, 2.0, -1.0], device=gpu)
    assert x[x > 0].tolist() == [3, 2]
    assert torch.unique(x).tolist() == [-1, 2, 3]
    assert x[[3, 0]].tolist() == [-1, 3]
    assert bool((x > 2).any())
    assert int(x.argmax()) == 0
    assert x[torch.tensor([1, 2])].tolist() == [-1, 2]  # indices may come from the CPU
    x[1:] *= torch.tensor(2.0)  # and numbers of no dimension
    x[0] = 7
    assert x.cpu().numpy().tolist() == [7, -2, 4, -2]


REFUSED = {
    "sum": lambda x: x + torch.ones(3, 2),
    "cat": lambda x: torch.cat([x, torch.ones(1, 2)]),
    "stack of numbers": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "index": lambda x: torch.ones(3, 2)[x[:, 0].long()],
    "index_select": lambda x: x.index_select(0, torch.arange(2)),
    "assignment": lambda x: x.__setitem__((0, [0, 1]), torch.ones(2)),
    "weights": lambda x: nn.Linear(2, 2)(x),
    "numpy": lambda x: x.numpy(),
    "array": lambda x: np.asarray(x),
    "generator": lambda x: torch.randn(2, device=x.device, generator=torch.Generator()),
    "whole numbers": lambda x: x.long() @ x.long().T,
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_a_gpu_refuses(gpu, call):
    with pytest.raises((RuntimeError, TypeError)):
        call(torch.ones(3, 2, device=gpu))


def test_a_model_learns_there_what_it_learns_here():
    def train(place):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double().to(place)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
        x, y = torch.randn(8, 3, dtype=torch.float64).to(place), torch.arange(8).to(place) % 2
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        return [value.detach().cpu() for value in model.state_dict().values()]

    with another_device() as device:
        there = train(device)
    torch.testing.assert_close(there, train("cpu"))


def test_dtypes_of_a_module_change(gpu):
    module = nn.Linear(2, 1).double().to(gpu).float()
    assert module(torch.ones(1, 2, device=gpu)).dtype == torch.float32
    assert type(module.cpu().weight) is nn.Parameter


def test_autocast_is_that_of_cuda(gpu):
    x = torch.ones(2, 2, device=gpu)
    with mixed_precision():
        assert (x @ x).dtype == torch.bfloat16
        assert (x @ x).exp().dtype == torch.float32  # on a CPU, bfloat16
        assert (x + 1).dtype == torch.float32
        assert torch.is_autocast_enabled("cuda")
    before = torch.get_autocast_dtype("cuda")
    for dtype in (torch.float16, torch.bfloat16):
        with mixed_precision(dtype):
            assert (x @ x).dtype == torch.get_autocast_dtype("cuda") == dtype
    assert torch.get_autocast_dtype("cuda") == before
    assert not torch.is_autocast_enabled("cuda")


# --- the test kit -----------------------------------------------------------------------------------------------------


class Clean(nn.Module):
    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)

    def forward(self, x, mass):
        return self.linear(x) * mass[:, None]


class Made(Clean):
    def forward(self, x, mass):
        return super().forward(x, mass) * torch.ones(len(x), 1, dtype=x.dtype)


class Kept(Clean):
    """A tensor that is no buffer stays where it was."""

    def __init__(self, in_dim, out_dim):
        super().__init__(in_dim, out_dim)
        self.scale = torch.ones(out_dim)

    def forward(self, x, mass):
        return super().forward(x, mass) * self.scale


class ByNumpy(Clean):
    def forward(self, x, mass):
        return super().forward(x, mass) * float(mass.numpy().max())


class InTraining(Clean):
    def forward(self, x, mass):
        y = super().forward(x, mass)
        return y * torch.rand(y.shape, dtype=y.dtype) if self.training else y


def doubled(back, ahead):
    """A layer whose derivatives are its own."""

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return 2 * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return g * back(g)

        @staticmethod
        def jvp(ctx, d):
            return d * ahead(d)

    class Doubled(Clean):
        def forward(self, x, mass):
            return Double.apply(super().forward(x, mass))

    return Doubled


def twos(x):
    return torch.full(x.shape, 2, dtype=x.dtype)


InBackward, Ahead = doubled(twos, lambda d: 2), doubled(lambda g: 2, twos)


class NarrowSums(Clean):
    def forward(self, x, mass):
        y = self.linear(x)
        return torch.zeros_like(y).index_add(0, torch.arange(len(y), device=y.device), y.exp()) * mass[:, None]


UNCLEAN = {Made: "cpu", Kept: "cpu", ByNumpy: "numpy|cuda", InTraining: "training", InBackward: "cpu", Ahead: "jvp"}


@pytest.fixture
def certify(scratch):
    """Registers for the while of a test."""

    def register(kind, target, **options):
        name = f"not-clean-{target.__name__.lower()}".replace("-", "_" if kind == "operator" else "-")
        getattr(cotan, kind)(name, **options)(target)
        return name

    return register


def test_clean_layers_pass(certify):
    report = check_layer(certify("layer", Clean), compile=False)
    assert {"another device, on a mesh", "training there, on a mesh"} <= set(report.passed)
    assert any(line.startswith("mixed precision") for line in report.passed)


@pytest.mark.parametrize(("layer", "words"), UNCLEAN.items(), ids=lambda v: getattr(v, "__name__", v))
def test_unclean_layers_are_found(certify, layer, words):
    with pytest.raises(AssertionError, match=words):
        check_layer(certify("layer", layer), compile=False)


def test_a_layer_that_mixed_precision_breaks_is_found(certify):
    with pytest.raises(AssertionError, match="mixed precision"):
        check_layer(certify("layer", NarrowSums), compile=False)


def test_an_unclean_model_is_found(certify):
    class Model(nn.Module):
        def __init__(self, in_dim, out_dim, *, task="classify"):
            super().__init__()
            self.linear = nn.Linear(in_dim, out_dim)

        def forward(self, x, batch, ptr):
            return torch.zeros(len(ptr) - 1, x.shape[1], dtype=x.dtype).index_add(0, batch, x) @ self.linear.weight.T

    with pytest.raises(AssertionError, match=r"another device.*cpu"):
        check_model(certify("model", Model))


def test_unclean_operators_are_found(certify):
    def forgotten(pos):
        return pos * torch.full((len(pos), 1), 2.0)

    def gone(pos):
        return torch.full((len(pos),), 2.0, dtype=pos.dtype)

    for target, words in ((forgotten, "cpu"), (gone, "give a value on cpu")):
        with pytest.raises(AssertionError, match=f"another device.*{words}"):
            check_operator(certify("operator", target, per="vertex"))
