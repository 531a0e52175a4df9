import threading

import pytest
import torch

import cotan
from cotan.blocks import ROWS, by_blocks, empty
from cotan.sparse import adjacency, multiply_rows, sampled_rows
from cotan_spectral.chebyshev import clenshaw

V = 2 * ROWS[0] + 7


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_each_row_is_in_one_block_and_blocks_come_in_order(threads):
    rows = by_blocks(lambda rows: torch.arange(V)[rows], torch.zeros(V, 64))
    assert len(rows) == 3
    assert torch.equal(torch.cat(rows), torch.arange(V))


@pytest.mark.parametrize("shape", [(0, 64), (1, 64), (5, 0), (3, 2**20)])
def test_sizes(threads, shape):
    sizes = by_blocks(lambda rows: rows.stop - rows.start, torch.empty(1).expand(shape))
    assert sum(sizes) == shape[0]


def test_a_worker_is_alone_and_the_caller_keeps_its_threads(threads):
    seen = by_blocks(lambda rows: torch.get_num_threads(), torch.zeros(V, 64))
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (seen, torch.get_num_threads(), later) == ([1] * 3, threads, [threads])


def test_errors_reach_the_caller(threads):
    with pytest.raises(ZeroDivisionError):
        by_blocks(lambda rows: 1 // 0, torch.zeros(V, 64))


def test_inference_is_known_to_the_workers(threads):
    with torch.inference_mode():
        y = torch.zeros(V, 64)
        by_blocks(lambda rows: y[rows].add_(1), y)
    assert torch.equal(y, torch.ones(V, 64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_room(dtype):
    room = empty((3, 4), torch.zeros(1, dtype=dtype))
    assert (room.shape, room.dtype) == ((3, 4), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_some_rows_of_a_product(dtype):
    torch.manual_seed(0)
    edges = torch.randint(0, 50, (2, 200))
    matrix = adjacency(edges, 60, torch.rand(200, dtype=dtype))[0]
    x = torch.randn(60, 5, dtype=dtype)
    for rows in (slice(0, 60), slice(0, 1), slice(3, 17), slice(50, 60), slice(4, 4)):
        assert torch.allclose(multiply_rows(matrix, x, rows), matrix.to_dense()[rows] @ x, atol=1e-5)
        here = (matrix.row >= rows.start) & (matrix.row < rows.stop)
        y = torch.randn(60, 5, dtype=dtype)
        expected = (y[matrix.row] * x[matrix.col]).sum(1)[here]
        assert torch.allclose(sampled_rows(matrix.pattern, y[rows], x, rows), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(V, 48), (V // 3, 3, 48)])
def test_chebyshev_in_blocks(threads, shape):
    """As the recurrence on whole signals, and the same to the last digit whatever the number of threads."""
    torch.manual_seed(0)
    i = torch.arange(shape[0])
    edges = torch.stack([i.repeat(2), torch.cat([i.roll(1), i.roll(100)])])
    matrix = adjacency(edges, shape[0], torch.rand(2 * shape[0]) - 0.5)[0]
    layer = cotan.create_layer("chebyshev", 48, 40, order=5, bias=False)
    x, g = torch.randn(shape).requires_grad_(), torch.randn(*shape[:-1], 40)

    def both(function):
        y = function(x)
        return [y, *torch.autograd.grad(y, [x, layer.weight], g)]

    ours = both(lambda x: layer(x, rescaled_laplacian=matrix))
    for one, other in zip(ours, both(lambda x: clenshaw(x, layer.weight, matrix)), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.detach().abs().max()))
    torch.set_num_threads(1)
    assert all(map(torch.equal, ours, both(lambda x: layer(x, rescaled_laplacian=matrix))))


def test_gaussian_in_blocks(threads, monkeypatch):
    """As the sum of whole signals, and the same to the last digit whatever the number of threads."""
    torch.manual_seed(0)
    i = torch.arange(V)
    pattern = adjacency(torch.stack([i.repeat(2), torch.cat([i.roll(1), i.roll(100)])]), V)[0].pattern
    coordinates = cotan.Sparse(pattern, torch.rand(2 * V, 2))
    layer = cotan.create_layer("gaussian", 64, 64, kernels=3, root=False, bias=False, dim=2)
    x, g = torch.randn(V, 64).requires_grad_(), torch.randn(V, 64)

    def both():
        y = layer(x, edge_coordinates=coordinates)
        return [y, *torch.autograd.grad(y, [x, *layer.parameters()], g)]

    ours = both()
    with monkeypatch.context() as patch:
        patch.setattr("cotan_spatial.gaussian.reverse_mode_only", lambda *_: False)
        whole = both()
    for one, other in zip(ours, whole, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.detach().abs().max()))
    torch.set_num_threads(1)
    assert all(map(torch.equal, ours, both()))
