import inspect
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import cotan
from cotan_views.multiview import MultiView
from cotan_views.retrieval import mean_average_precision, rank
from cotan_views.views import views

from .shapes import knot, sphere

POOLINGS = ("max", "mean", "attention")


def make(**options):
    torch.manual_seed(0)
    return MultiView(3, 4, **{"size": 16, "width": 4, **options})


def box(scale, seed):
    """A cuboid in single precision, slightly bent."""
    import trimesh

    mesh = trimesh.creation.box((1, 1, 1)).subdivide().subdivide()
    noise = torch.randn(len(mesh.vertices), 3, generator=torch.Generator().manual_seed(seed)) * 0.01
    pos = torch.tensor(mesh.vertices).float() * torch.tensor(scale) + noise
    return Data(pos=pos, face=torch.tensor(mesh.faces.copy()).T.contiguous())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_order_of_the_views_does_not_matter(pooling):
    model = make(pooling=pooling).eval()
    views = torch.randn(2, 5, 4, 16, 16)
    torch.testing.assert_close(model(views[:, torch.randperm(5)]), model(views), rtol=1e-4, atol=1e-5)
    assert model(views).shape == (2, 4)
    assert model.descriptor(views).shape == (2, 32)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_view_seen_twice_counts_as_one(pooling):
    model = make(pooling=pooling).eval()
    view = torch.randn(2, 1, 4, 16, 16)
    torch.testing.assert_close(model(view.expand(-1, 3, -1, -1, -1)), model(view), rtol=1e-4, atol=1e-5)


def test_attention_looks_at_one_view_more_than_at_another():
    model = make(pooling="attention").eval()
    views = torch.randn(1, 6, 4, 16, 16)
    assert not torch.allclose(model.descriptor(views), make(pooling="mean").eval().descriptor(views), rtol=1e-3)


def test_training_leaves_views_out_and_testing_does_not():
    model = make(pooling="mean", view_dropout=0.75)
    views = torch.randn(1, 8, 4, 16, 16)
    seen = []
    model.cnn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.descriptor(views)
    assert len(seen[-1]) == 2
    assert all(any(torch.equal(v, w) for w in views[0]) for v in seen[-1])
    model.view_dropout = 0.95
    model.descriptor(views.expand(2, -1, -1, -1, -1))
    assert len(seen[-1]) == 2  # one of each shape
    model.eval().descriptor(views)
    assert torch.equal(seen[-1], views[0])


def test_it_asks_for_the_views_of_its_options():
    model = cotan.create_model(
        "multiview", in_dim=3, out_dim=2, rig="dodecahedron", size=16, outputs=("shaded", "normals"), width=4
    )
    views = cotan.inputs(model, box((1, 1, 1), 0))["views"]
    assert views.shape[-4:] == (20, 4, 16, 16)


def test_every_option_of_the_views_is_passed_on():
    options = {
        "rig": "random",
        "count": 3,
        "up": "y",
        "fov": 40.0,
        "size": 16,
        "align": "principal",
        "outputs": ("shaded", "silhouette"),
        "samples": 2,
        "smooth": True,
        "softness": 2.0,
    }
    other = {"elevation": -20.0, "projection": "orthographic", "size": 16}
    shape = box((1, 0.6, 0.4), 0)
    for given in (options, other):
        model = cotan.create_model("multiview", in_dim=3, out_dim=2, **given)
        assert torch.equal(cotan.inputs(model, shape)["views"][0], cotan.compute(shape, "views", **given))
    named = inspect.signature(views).parameters.values()
    passed = options.keys() | other.keys()
    assert {p.name for p in named if p.kind is p.KEYWORD_ONLY} == passed | {"seed"}  # which a model has for its weights


def test_it_sees_colours():
    shape = box((1, 0.6, 0.4), 0)
    model = make(outputs=("depth", "color")).eval()
    with pytest.raises(cotan.CotanError, match="needs colours of the vertices"):
        cotan.apply(model, shape)
    answers = []
    for channels in (torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])):
        shape.color = channels.expand(shape.num_nodes, 3).contiguous()
        answers.append(cotan.apply(model, shape))
    assert answers[0].shape == (1, 4)
    assert not torch.allclose(*answers)
    shape.color = torch.rand(shape.num_nodes, 4)
    with pytest.raises(cotan.CotanError, match=r"of C = 4 channels; got shape \(1, 12, 5, 16, 16\)"):
        cotan.apply(model, shape)


def test_it_is_made_on_any_device():
    with torch.device("meta"):
        assert make().head[1].weight.device.type == "meta"


def test_end_to_end_from_meshes_it_learns_and_gradients_reach_the_vertices():
    kinds = [(1.0, 1.0, 1.0), (1.0, 1.0, 0.1), (0.1, 0.1, 1.0)]
    shapes = [box(kind, seed) for seed in range(4) for kind in kinds]
    target = torch.arange(12) % 3
    torch.manual_seed(0)
    model = cotan.create_model("multiview", in_dim=3, out_dim=3, size=24, width=8, count=4, pooling="mean", dropout=0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(60):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(cotan.apply(model, shapes), target)
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    model.eval()
    fresh = [box(kind, 7) for kind in kinds]
    assert cotan.apply(model, fresh).argmax(1).tolist() == [0, 1, 2]
    fresh[1].pos.requires_grad_()
    nn.functional.cross_entropy(cotan.apply(model, fresh), torch.tensor([0, 1, 2])).backward()
    assert fresh[1].pos.grad.abs().sum() > 0


def test_a_drawing_finds_its_shape():
    """Trained on a few of the contours at a time, it finds shapes by contours from where no camera stood."""
    shapes = [Data(pos=pos.float(), face=face) for pos, face in (knot(), sphere(2))] + [box((0.1, 0.1, 1.0), 0)]
    drawn = {"size": 32, "outputs": ("contours",)}
    gallery = torch.stack([cotan.compute(s, "views", count=24, **drawn) for s in shapes])
    model = make(**drawn)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        some = torch.randperm(24, generator=generator)[:6]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(gallery[:, some]), torch.arange(3)).backward()
        optimiser.step()
    eyes = [[1.75, 0.2, 1.0], [-0.9, 1.5, 1.0]]
    sketches = torch.cat([cotan.compute(s, "views", rig=eyes, **drawn) for s in shapes])
    with torch.no_grad():
        model.eval()
        ranking = rank(model.descriptor(sketches.unsqueeze(1)), model.descriptor(gallery))
    relevant = torch.arange(3).repeat_interleave(2).unsqueeze(1) == torch.arange(3)
    assert mean_average_precision(ranking, relevant) > 0.85


class Tiny(nn.Module):
    """What a network of torchvision looks like from outside."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(6, 1000)

    def forward(self, x):
        return self.fc(self.body(x))


@pytest.fixture
def torchvision(monkeypatch):
    import importlib.machinery

    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    package.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
    models.list_models = lambda module=None: ["tiny"] + ["detector"] * (module is not models)
    models.get_model = lambda name, weights=None: Tiny()
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setitem(sys.modules, "timm", None)


def test_a_network_of_torchvision_with_the_users_weights(torchvision, tmp_path):
    network = Tiny()
    torch.save(network.state_dict(), tmp_path / "tiny.pth")
    model = make(cnn="tiny", weights=str(tmp_path / "tiny.pth"))
    assert torch.equal(model.cnn[1].body[0].weight, network.body[0].weight)
    assert model.descriptor(torch.randn(2, 3, 4, 16, 16)).shape == (2, 6)
    assert model.training
    assert all(module.training for module in model.modules())
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(cotan.CotanError, match="not those of this cnn"):
        make(cnn="tiny", weights=str(tmp_path / "other.pth"))
    for name in ("none.pth", "none.safetensors", "text.pth"):
        (tmp_path / "text.pth").write_text("no weights")
        with pytest.raises(cotan.CotanError, match=f"the weights .*{name} cannot be read"):
            make(cnn="tiny", weights=str(tmp_path / name))


def test_a_network_of_timm_is_without_its_head(torchvision, monkeypatch):
    import importlib.machinery

    class Timms(Tiny):
        def reset_classifier(self, classes):
            assert classes == 0
            self.fc = nn.Identity()

    timm = ModuleType("timm")
    timm.__spec__ = importlib.machinery.ModuleSpec("timm", None)
    timm.is_model = lambda name: name == "small"
    timm.create_model = lambda name, pretrained: Timms()
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert make(cnn="small").descriptor(torch.randn(2, 3, 4, 16, 16)).shape == (2, 6)
    assert not hasattr(make(cnn="tiny").cnn[1], "reset_classifier")  # which timm has not: torchvision's
    timm.create_model = lambda name, pretrained: nn.Sequential(nn.Conv2d(3, 6, 3))
    with pytest.raises(cotan.CotanError, match="this cnn has no fc, classifier, heads or head to take away"):
        make(cnn="small")


def test_networks_that_are_not_for_this_are_refused(torchvision):
    with pytest.raises(cotan.CotanError, match="unknown cnn 'detector'"):
        make(cnn="detector")
    with pytest.raises(cotan.CotanError, match="cnn 'tiny' does not take pictures of 2 x 2"):
        make(cnn="tiny", size=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "min"}, "'max', 'mean' or 'attention'; got 'min'"),
        ({"task": "label"}, "whole shapes; got the task 'label'"),
        ({"outputs": ("depht",)}, "unknown output 'depht'"),
        ({"outputs": "depth"}, "list of one or more"),
        ({"outputs": ()}, "list of one or more"),
        ({"rig": "foo"}, "unknown rig 'foo'"),
        ({"rig": "dodecahedron", "count": 3}, "does not use count"),
        ({"align": "foo"}, "'none' or 'principal'; got 'foo'"),
        ({"size": 0}, "size=0, expected a whole number of at least 1"),
        ({"samples": 0}, "samples=0, expected a whole number of at least 1"),
        ({"softness": 1.0}, "which is not in"),
        ({"width": 0}, "width=0, expected a whole number of at least 1"),
        ({"view_dropout": 1.0}, "below 1; got 1.0"),
        ({"cnn": "no-such-network"}, "unknown cnn 'no-such-network'"),
        ({"weights": "x.pth"}, "has none to load"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(cotan.CotanError, match=message):
        make(**options)
