"""The scripts of tests/benchmarks are run by hand; those that reach into training are run here on next to nothing."""

import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

import cotan


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    return import_module


@pytest.fixture(scope="module")
def few():
    return cotan.load_dataset("poses", per_class=5, vertices=125, creatures=("dog", "octopus"), stress=())


def test_what_make_speed_runs_times_something_and_wants_no_argument():
    for path in (Path(__file__).parent / "benchmarks").glob("bench_*.py"):
        text = path.read_text()
        assert "clock" in text or "time" in text, path.name
        assert "main(*sys.argv" not in text, path.name


def test_training(script, few):
    bare, over = script("bench_training").ratio("linear", few, {}, rounds=3)
    assert bare > 0
    assert over > 0


def test_an_epoch_of_diffusion_beside_the_published_loop(script, few):
    bench = script("bench_diffusion")
    few.train = few.train[:3]
    for epoch in (bench.our_epoch(few, 2), bench.peer_epoch(list(few.train), len(few.classes))):
        epoch()


def test_steps_on_parts_of_a_graph(script):
    bench = script("bench_sampling")
    found = dict(bench.measured(bench.power_law(300, 2000), 1, time.perf_counter))
    assert len(found) == 9
    assert all(seconds > 0 for seconds in found.values())


def test_the_two_loops_for_gradients_agree(script):
    bench = script("bench_geometry")
    pos, face = bench.square(7)
    frames = bench.published_frames(pos.float(), face.T.contiguous())
    laplacian, _, edges = bench.published_pairs(pos.numpy(), face.T.numpy(), 8)
    assert abs(laplacian - cotan.compute(Data(pos=pos, face=face), "laplacian").to_scipy()).max() < 1e-4
    edges = torch.from_numpy(edges).long()
    theirs = bench.published_gradient(pos, edges, frames)
    leaner = bench.loop_over_vertices(pos, edges[:, edges[0] != edges[1]], frames)
    assert abs(theirs - leaner).max() < 1e-4 * abs(leaner).max()


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_training_beside_pyg_is_of_the_same_net(script, real_data, tmp_path):
    bench = script("bench_fit")
    for name in ("planetoid", "tu"):
        (tmp_path / name).symlink_to(real_data / name)
    for shapes in (real_data / "shrec11").glob("*/*"):  # few of each class
        (folder := tmp_path / shapes.relative_to(real_data)).mkdir(parents=True)
        for path in sorted(shapes.iterdir())[:2]:
            (folder / path.name).symlink_to(path)
    for data, layer, options, peer, _, batch, recipe in bench.cases(str(tmp_path)).values():
        model, other = cotan.model_for(layer, data, seed=0, **options), peer()
        assert count(model) == count(other)
        bench.peer_fit(other, data.train[:2], data.val[:1], 1, batch, recipe)


MOST = {"gcn": 6, "chebyshev, K=5": 36, "gaussian, 8 kernels": 39, "gat, 4 heads": 34, "sage": 11, "gin": 18}


@pytest.mark.cuda
@pytest.mark.parametrize("layer", MOST)
def test_kernels_of_a_step_on_a_gpu(script, layer, gpu, monkeypatch):
    """Forward and backward launch no more than they did, and fewer than PyG's."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    bench = script("count_kernels")
    edges = torch.randint(0, 50, (2, 300)).unique(dim=1).to(gpu)
    found = []
    for run in bench.pair(layer, Data(edge_index=edges, num_nodes=50)):
        run()
        with bench.counting() as kernels:
            run()
        found.append(len(kernels))
    assert found[0] <= MOST[layer]
    assert found[0] < found[1]
