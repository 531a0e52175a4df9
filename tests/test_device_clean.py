"""What `check_operator`, `check_layer` and `check_model` leave out, on another device than the CPU: options, derivatives,
training, the store. Where there is a GPU it is the GPU; elsewhere one is pretended (see `test_elsewhere`)."""

import itertools
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Data

import cotan
from cotan import registry
from cotan.batching import per_of, prepare
from cotan.data import sources_of
from cotan.datasets import Splits
from cotan.evaluation import Evaluation
from cotan.nodes import node
from cotan.operators import eigen
from cotan.operators.geodesic_distance import all_distances
from cotan.plan import make_plan
from cotan.sampling import Sampled
from cotan.testing import Nothing, another_device, check_operator, mixed_precision
from cotan.testing.elsewhere import BELOW, Elsewhere
from cotan.testing.operators import observe
from cotan.testing.shapes import example
from cotan.training import loop
from cotan.training.epochs import Fit
from cotan.training.evaluate import Forward
from cotan.values import map_tensors, move
from cotan.warming import warm

pytestmark = pytest.mark.cuda
aten = torch.ops.aten


def devices(value):
    found = set()
    map_tensors(lambda t: found.add(t.device.type) or t, value)
    return found


def same_there(request, data, tolerance=1e-7):
    """The node is where the data is, and the same."""

    def seen(data):
        step = make_plan({"": request}, sources_of(data)).roots[""]
        value = Evaluation(data, keep=Nothing()).value(step)
        assert devices(value) <= devices(data)
        return [t.cpu() for t in observe(value, step.per, index=step.index, view=step.definition.observable)]

    here = seen(data)
    with another_device() as device:
        there = seen(move(data, device))
    if request.name == "views":  # rounding may show another face at a few pixels
        assert ((here[0] - there[0]).abs() > tolerance).double().mean() < 1e-3
    else:
        torch.testing.assert_close(there, here, rtol=tolerance, atol=tolerance)


# --- operators --------------------------------------------------------------------------------------------------------

SEEN = ("depth", "normals", "shaded", "silhouette", "position", "contours")
OPTIONS = {
    "views": [
        *({"rig": rig, "size": 16, "outputs": SEEN} for rig in ("ring", "dodecahedron", "icosphere", "random")),
        {"size": 12, "samples": 2, "smooth": True, "align": "principal"},
        {"size": 12, "outputs": ("silhouette",), "softness": 2.0, "projection": "orthographic"},
    ],
    "voxels": [
        *(
            {"resolution": 10, "fill": fill, "method": method}
            for fill, method in itertools.product(("solid", "union", "tsdf"), ("parity", "winding", "flood"))
        ),
        {"resolution": 10, "fill": "surface"},
        {"resolution": 8, "normalize": "sphere", "samples": 2, "padding": -1.0},
    ],
    "torus": [{"maps": 2, "resolution": 16, "weights": "uniform"}],
    "geodesic_distance": [{"kind": kind, "source": (1, 5)} for kind in ("heat", "front")],
    "heat_diffusion": [{"kind": kind, "time": 0.2} for kind in ("spectral", "implicit")],
    "radius_neighbours": [{"radius": 0.6, "limit": 4}],
    "farthest_points": [{"size": 20}],
    "laplacian": [{"kind": "graph", "edge_index": node("nearest_neighbours", k=5)}, {"on": node("coarsen", level=2)}],
    "random_rotation": [{"axis": "any"}, {"axis": "z"}],
}


@pytest.mark.parametrize(
    "request_", [node(name, **options) for name, each in OPTIONS.items() for options in each], ids=lambda n: n.key
)
def test_operators_with_options(request_):
    data = example("mesh").clone()
    data.x = torch.randn(data.num_nodes, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    same_there(request_, data)


@pytest.mark.parametrize("shape", ["mesh", "graph"])
def test_eigenpairs_by_products_with_the_matrix(shape, monkeypatch):
    monkeypatch.setattr(eigen, "DENSE", -1000)
    same_there(node("spectrum", k=6), example(shape), 1e-5)


@pytest.mark.parametrize(
    "request_",
    [
        *(node(n) for n in ("laplacian", "mass", "spectrum", "gradient", "mean_curvature", "heat_kernel_signature")),
        node("views", size=16, outputs=("silhouette", "depth"), softness=2.0),
    ],
    ids=lambda n: n.key,
)
def test_gradients_reach_the_vertices(request_):
    data = example("other-mesh")

    def gradient(data):
        data = data.clone()
        data.pos = data.pos.detach().clone().requires_grad_()
        step = make_plan({"": request_}, sources_of(data)).roots[""]
        seen = observe(Evaluation(data, keep=Nothing()).value(step), None)
        sum(t.square().sum() for t in seen if t.is_floating_point()).backward()
        return data.pos.grad

    with another_device() as device:
        there = gradient(move(data, device))
        assert there.device.type == device.type
        there = there.cpu()
    torch.testing.assert_close(there, gradient(data), rtol=1e-5, atol=1e-7)


def test_spectra_of_many_shapes_on_several_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        report = check_operator("spectrum", k=6)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert "several at once, another device, on a mesh" in report.passed


def test_maps_between_shapes(gpu):
    shape = move(example("mesh"), gpu)
    landmarks = torch.tensor([[0, 1], [0, 1]], device=gpu)
    assert devices(cotan.match(shape, shape, k=20, start=8, landmarks=landmarks)) == {gpu.type}
    distances = all_distances(shape.pos, shape.face)
    vertices = torch.arange(shape.num_nodes, device=gpu)
    assert float(cotan.geodesic_error(vertices, vertices.flip(0), distances).max()) > 0


def test_stored_values_come_to_the_data(gpu, fresh_store):
    """What was computed and stored for a shape on one device is used for it on another."""
    shape = example("mesh")
    for data in (shape, move(shape, gpu), shape):
        for name in ("laplacian", "spectrum", "gradient"):
            assert devices(cotan.compute(data, name)) == devices(data)
    assert {name: count.evaluations for name, count in cotan.counts().items() if name == "spectrum"} == {"spectrum": 1}


# --- training ---------------------------------------------------------------------------------------------------------


class Fabric:
    """As Lightning's, which knows no device that is not there."""

    def __init__(self, device, precision):
        self.device, self.precision = device, precision

    def setup(self, step, optimizer):
        step = step.to(self.device)
        return step if self.precision == "32" else Mixed(step), optimizer

    def backward(self, loss):
        loss.backward()


class Mixed(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, batch):
        with mixed_precision():
            return self.step(batch).float()


@pytest.fixture
def training(gpu, monkeypatch):
    monkeypatch.setattr(loop, "make_fabric", lambda recipe: Fabric(gpu, recipe.precision))
    return gpu


def shapes(names, **attributes):
    out = []
    for number, name in enumerate(names):
        data = example(name).clone()
        if data.get("pos") is None:
            data.x = torch.randn(data.num_nodes, 3, generator=torch.Generator().manual_seed(number))
        for key, value in attributes.items():
            data[key] = value(number, data)
        out.append(data)
    return out


def by_turns(number, data):
    return torch.tensor(number % 2)


def by_vertex(number, data):
    return torch.arange(data.num_nodes) % 3


class Scaled(nn.Linear):
    def forward(self, x, largest_mass):
        return super().forward(x) * largest_mass[:, None]


MESHES, GRAPHS = ("mesh", "other-mesh") * 2, ("graph", "other-graph") * 4
SMALL_DBN = {"widths": (4,), "kernels": (4,), "strides": (2,), "hidden": 8, "top": 8, "pretraining": 1, "mirror": True}
SMALL = {"width": 8, "depth": 2}
RUNS = {  # model, task, shapes, attributes, options of the model, recipe
    "gcn": ("gcn", "classify", MESHES, {"y": by_turns}, SMALL, {}),
    "diffusion": ("diffusion", "label", MESHES, {"y": by_vertex}, SMALL, {}),
    "mixed precision": (
        *("topk", "classify", MESHES, {"y": by_turns}, {"readout": "attention", **SMALL}),
        {"precision": "bf16"},
    ),
    "regress": ("spectral", "regress", MESHES, {"y": lambda i, d: torch.tensor([i / 10, 1.0])}, SMALL, {}),
    "topk": ("topk", "label", MESHES, {"y": by_vertex}, SMALL, {}),
    "multiview": ("multiview", "classify", MESHES, {"y": by_turns}, {"size": 16, "width": 4, "count": 4}, {}),
    "toric": ("toric", "label", MESHES, {"y": by_vertex}, {"resolution": 16, **SMALL}, {}),
    "dbn": ("voxel-dbn", "classify", MESHES, {"y": by_turns}, {"resolution": 12, **SMALL_DBN}, {}),
    "masks and weights": (
        *("gat", "label", GRAPHS, {"y": by_vertex, "mask": lambda i, d: torch.arange(d.num_nodes) % 2 == 0}, SMALL),
        {"class_balance": True, "label_smoothing": 0.1, "optimizer": "sgd"},
    ),
    "a val that is cut": ("gat", "classify", GRAPHS, {"y": by_turns}, SMALL, {"val_share": 0.5, "optimizer": "adamw"}),
    "augmented": ("gcn", "classify", MESHES, {"y": by_turns}, SMALL, {"augment": ("random_rotation", "random_jitter")}),
    "labels of edges": (
        *("gcn", "label", MESHES),
        {"y": lambda i, d: torch.arange(7) % 2, "y_index": lambda i, d: torch.arange(7) + torch.tensor([[0], [1]])},
        *(SMALL, {}),
    ),
    "match": ("gcn", "match", ("other-mesh",) * 4, {"y": lambda i, d: torch.arange(d.num_nodes)}, SMALL, {}),
}


# Where the shapes lie is one to models, whose operators are tried above.
OF_MODELS = ("diffusion", "regress", "topk", "multiview", "toric", "dbn")
PLACES = [
    pytest.param(run, moved, id=f"{name}-shapes {'there' if moved else 'on the CPU'}")
    for name, run in RUNS.items()
    for moved in ([False] if name in OF_MODELS else [False, True])
]


@pytest.mark.parametrize(("run", "moved"), PLACES)
def test_fit_evaluate_predict(run, moved, training, tmp_path):
    model, task, names, attributes, options, recipe = run
    own = [move(shape, training if moved else "cpu") for shape in shapes(names, **attributes)]
    template = move(example("other-mesh"), training if moved else "cpu") if task == "match" else None
    cut = {} if "val_share" in recipe else {"val": own[:2]}
    splits = Splits(train=own, test=own[:2], task=task, template=template, **cut)
    for epochs in (1, 2):  # the second goes on from the first
        module = cotan.model_for(model, splits, seed=0, **options)
        how = {"epochs": epochs, "batch_size": 2, "resume": epochs > 1, "progress": "none", **recipe}
        found = cotan.fit(module, splits, out=tmp_path / "run", **how)
        assert {p.device.type for p in found.model.parameters()} == {training.type}
    before = cotan.evaluate(found, splits)
    rounding = 0.05 if "precision" in recipe else 1e-3
    assert before["loss"] == pytest.approx(found.metrics["test_loss"], rel=rounding)
    assert cotan.apply(found.model, splits.test).device.type == training.type
    assert len(cotan.predict(found, splits.test)) == 2
    found.model.cpu()  # a model that came back, on shapes that may not have
    assert cotan.evaluate(found, splits) == pytest.approx(before, rel=1e-2)  # a GPU's convolutions round more
    assert cotan.apply(found.model, splits.test).device.type == "cpu"
    assert len(cotan.predict(tmp_path / "run", splits.test)) == 2


def test_a_batch_of_numbers_is_there_too(gpu, scratch):
    """An operator may give a number for a shape."""
    cotan.operator("largest_mass", per="shape")(lambda mass: float(mass.max()))
    model = Scaled(3, 2).to(gpu)
    batch = prepare(model, shapes(MESHES[:2]), per=None).to(gpu).values([0, 1])
    assert {name: devices(value) for name, value in batch.items()} == {name: {gpu.type} for name in batch}
    assert model(torch.ones(2, 3, device=gpu), batch["largest_mass"]).shape == (2, 2)


def test_the_graph_of_a_dataset_with_masks(training):
    graph = example("graph").clone()
    graph.x, graph.y = torch.randn(graph.num_nodes, 3), torch.arange(graph.num_nodes) % 4
    graph.train_mask, graph.test_mask = graph.y < 3, graph.y == 3
    graph = move(Data(**graph.to_dict()), training)
    graph.y = graph.y % 3
    assert "test_accuracy" in cotan.fit("gcn", graph, epochs=1, progress="none").metrics


def test_no_processes_are_started_for_shapes_on_a_gpu(gpu):
    own = [move(shape, gpu) for shape in shapes(MESHES[:2] * 20)]
    model = cotan.create_model("gcn", 3, 2)
    assert warm({"": model}, own, 1, torch.float32, each=1e6) == {}


class Waits(TorchDispatchMode):
    """Lists where a GPU's work is waited for: by what asks for a number on it, how many there are, or copies without
    `non_blocking`.
    """

    ASKING = (
        *(aten._local_scalar_dense, aten.nonzero, aten.bincount, aten._unique2, aten.unique_consecutive, aten.equal),
        *(aten.masked_select, aten.linalg_matrix_exp, aten._linalg_check_errors, aten.multinomial),
    )

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket
        there, *others = [isinstance(arg, Elsewhere) for arg in args[:2]] or [False]
        if name is aten._to_copy and kwargs.get("device") is not None:
            waits = there != (kwargs["device"] == BELOW) and not kwargs.get("non_blocking")
        elif name is aten.copy_:
            waits = [there] != others and not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        elif name in (aten.index, aten.index_put, aten.index_put_):  # by a mask, or by what is copied for it
            waits = there and any(
                i.dtype == torch.bool or not isinstance(i, Elsewhere) for i in args[1] if i is not None
            )
        elif name is aten.repeat_interleave:
            waits = there and kwargs.get("output_size") is None
        else:
            waits = there and name in self.ASKING
        if waits:
            self.found.append(str(func))
        return func(*args, **kwargs)


@contextmanager
def waits():
    """The list of what is waited for inside."""
    if not torch.cuda.is_available():
        with Waits() as mode:
            yield mode.found
        return
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: found.append(str(message))
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


OF_A_STEP = {"topk": 6}  # how many vertices, and how many edges, each of three poolings leaves
OURS = sorted({d.name for d in registry.all_definitions() if d.kind == "model" and d.origin.startswith("cotan")})
GRIDS = {"sequence": (3, 16), "image": (3, 16, 16), "volume": (3, 8, 8, 8)}
SMALL_GRIDS = {
    "toric": {"resolution": 16, "width": 8},
    "multiview": {"size": 16, "width": 4, "count": 4},
    "voxel": {"resolution": 12},
    "voxel-dbn": {"resolution": 12, **SMALL_DBN},
}
PER_VERTEX = (
    "gcn",
    "gat",
    "gaussian",
    "chebyshev",
    "smooth-spectral",
    "spectral",
    "diffusion",
    "pyramid",
    "topk",
    "toric",
)


@pytest.mark.parametrize(
    ("name", "task"), [(name, "classify") for name in OURS] + [(name, "label") for name in PER_VERTEX]
)
def test_a_step_does_not_wait(name, task, gpu):
    """But where its output has a size that the numbers decide."""
    grids = {grid: lambda i, d, shape=shape: torch.randn(shape) for grid, shape in GRIDS.items()}
    labels = {"y": by_turns} if task == "classify" else {"y": by_vertex}
    if task == "label":
        labels["mask"] = lambda i, d: torch.arange(d.num_nodes) % 2 == 0
    own = shapes(MESHES[:2], **grids, **labels)
    small = SMALL if name in cotan.names("layer") else SMALL_GRIDS.get(name, {})
    model = cotan.create_model(name, 3, 3, task=task, **small).to(gpu)
    prepared = prepare(model, own, per=per_of(model)).to(gpu)
    optimizer = cotan.Recipe().make_optimizer(model.parameters())
    for _ in range(2):  # kernels are compiled in the first
        with waits() as found:
            batch = prepared.collate([0, 1])
            optimizer.zero_grad()
            output, target = batch.counted(Forward(model)(batch))
            torch.nn.functional.cross_entropy(output, target).backward()
            optimizer.step()
    assert len(found) == OF_A_STEP.get(name, 0), found
    if task == "label":
        assert batch.count == len(batch.rows) == len(target) == sum(int(shape.mask.sum()) for shape in own)
        assert batch.rows.device.type == gpu.type


def test_what_comes_to_a_gpu_does_not_wait(gpu):
    graph = shapes(GRAPHS[:1], y=by_vertex)[0]
    model = cotan.create_model("gcn", 3, 3, task="label", **SMALL).to(gpu)
    with waits() as found:
        samples = [move(sample, gpu) for sample in prepare(model, [graph], per="vertex").samples[0].values()]
    assert not found
    assert set().union(*map(devices, samples)) == {gpu.type}
    sampled = Sampled(model, [graph], prepare(model, [graph], per="vertex").to(gpu), (3, 2))
    with waits() as found:
        steps = list(sampled.batches(4, 0))
    assert not found
    assert len(steps) == 6


def test_whether_weights_are_finite_is_asked_once(gpu):
    model = cotan.create_model("gcn", 3, 3, **SMALL).to(gpu)
    with waits() as found:
        Fit._check_finite(SimpleNamespace(run=SimpleNamespace(model=model)), {"train": 1.0})
    assert len(found) == 1


def test_waits_are_found(gpu):
    x = torch.ones(3, device=gpu)
    for wait in (Tensor.nonzero, Tensor.cpu, lambda x: x[x > 0], lambda x: torch.ones(3).to(gpu), lambda x: x[[0, 1]]):
        with waits() as found:
            wait(x)
        assert len(found) == 1
