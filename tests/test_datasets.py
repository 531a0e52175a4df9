"""Splits, their digest, datasets by name, and generated datasets in the store."""

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan.datasets import Splits, as_splits, load_dataset
from cotan.targets import width

MADE = []
VERSION = {"made-here": 1}
TENSORS = ("pos", "face", "x", "y", "mask")


@cotan.dataset("made-here", version=lambda **_: VERSION["made-here"])
def made_here(*, shapes: int = 4, workers: int | None = None):
    MADE.append(shapes)
    data = [Data(pos=torch.rand(5, 3), y=torch.tensor([i % 2])) for i in range(shapes)]
    return Splits(data, [], data[:1], classes=("a", "b"), stress={"late": data[1:]})


@cotan.dataset("empty-here")
def empty_here(*, skip: bool = False):
    return Splits([], skipped=[("a.off", "broken")] if skip else [])


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("COTAN_CACHE", str(tmp_path))
    MADE.clear()


def test_a_name_gives_splits_and_one_of_them():
    data = load_dataset("made-here", shapes=3)
    assert (len(data.train), len(data.test), data.name, data.options) == (3, 1, "made-here", {"shapes": 3})
    assert len(load_dataset("made-here", split="late")) == 3
    with pytest.raises(cotan.CotanError, match=r"unknown split of 'made-here' 'tests'\. Did you mean 'test'"):
        load_dataset("made-here", split="tests")


def test_unknown_names_and_options():
    with pytest.raises(cotan.CotanError, match=r"unknown dataset 'made-her'\. Did you mean 'made-here'"):
        load_dataset("made-her")
    with pytest.raises(cotan.CotanError, match=r"unknown option of dataset 'made-here' 'shape'\."):
        load_dataset("made-here", shape=3)
    with pytest.raises(cotan.CotanError, match=r"is empty$"):
        load_dataset("empty-here")
    with pytest.raises(cotan.CotanError, match=r"is empty \(1 files were skipped\)"):
        load_dataset("empty-here", skip=True)


def test_a_dataset_may_have_an_option_that_is_called_name():
    @cotan.dataset("named-here")
    def named_here(*, name: str = "a"):
        return Splits([Data(pos=torch.rand(5, 3), y=torch.tensor([0]))], classes=(name,))

    assert load_dataset("named-here", name="b").classes == ("b",)


def test_a_generated_dataset_is_kept_by_version_and_options(own_store, monkeypatch):
    first = load_dataset("made-here")
    again = load_dataset("made-here", workers=2)
    assert MADE == [4]
    assert again.digest == first.digest
    assert torch.equal(again.stress["late"][2].pos, first.stress["late"][2].pos)
    assert (again.classes, again.task) == (("a", "b"), "classify")
    load_dataset("made-here", shapes=5)
    monkeypatch.setitem(VERSION, "made-here", 2)
    assert load_dataset("made-here").digest != first.digest
    assert MADE == [4, 5, 4]


def test_what_is_kept_is_what_was_made(own_store, monkeypatch):
    """Attributes that only some shapes have, of every dtype and size, and shapes that lists share."""
    odd = Data(pos=torch.rand(3, 3), face=torch.tensor([[0], [1], [2]]), y=torch.tensor([1]), mask=torch.ones(3) > 0)
    empty = Data(pos=torch.zeros(0, 3), y=torch.tensor([-70000]), num_nodes=0, tags=[1, "two"])
    scalar = Data(x=torch.tensor(2.5, dtype=torch.float64), y=torch.tensor(2**40), name="c")

    @cotan.dataset("odd-here", version=1)
    def odd_here():
        return Splits([odd, empty, scalar], [odd], [], classes=("a",), stress={"late": [empty]}, task="label")

    made, found = load_dataset("odd-here"), load_dataset("odd-here")
    assert made.train[0] is odd
    assert found.train[0] is not odd
    assert (found.classes, found.task, found.digest) == (("a",), "label", made.digest)
    for a, b in zip(made.train + made.val + made.stress["late"], found.train + found.val + found.stress["late"]):
        assert a.to_dict().keys() == b.to_dict().keys()
        for name, value in a.to_dict().items():
            same = torch.equal(b[name], value) and b[name].dtype == value.dtype if name in TENSORS else b[name] == value
            assert same, name
    assert len(found.train[0].pos.untyped_storage()) == 9 * 4  # no view of all shapes' numbers


def test_a_shared_tensor_is_digested_as_any_other():
    edges = torch.randint(9, (2, 20))
    shared = [Data(edge_index=edges, x=torch.full((9, 1), float(i))) for i in range(4)]
    apart = [shape.clone() for shape in shared]
    assert shared[0].edge_index is shared[1].edge_index is not apart[1].edge_index
    assert Splits(shared).digest == Splits(apart).digest
    apart[2].edge_index[0, 0] += 1
    assert Splits(shared).digest != Splits(apart).digest


def test_the_digest_is_of_what_the_splits_hold():
    a = [Data(pos=torch.ones(2, 3) * i, y=torch.tensor([i])) for i in range(3)]
    same = Splits([a[0]], [a[1]], [a[2]])
    assert same.digest == Splits([a[0].clone()], [a[1]], [a[2]], name="other").digest
    assert same.digest != Splits([a[1]], [a[0]], [a[2]]).digest
    moved = a[0].clone()
    moved.pos[1, 2] += 1e-6
    assert same.digest != Splits([moved], [a[1]], [a[2]]).digest
    moved = a[0].clone()
    moved.path = "/somewhere/else.off"
    assert same.digest == Splits([moved], [a[1]], [a[2]]).digest


def test_copies_in_train_and_test_are_counted_whatever_their_labels():
    shapes = [Data(pos=torch.rand(4, 3), y=torch.tensor([i])) for i in range(6)]
    copies = [shape.clone() for shape in shapes]
    assert Splits(shapes[:3], [], copies[3:]).seen() == 0
    copies[1].y, copies[2].path = torch.tensor([5]), "elsewhere.off"
    assert Splits(shapes[:3] * 2, shapes[3:], copies).seen() == 3
    copies[0].pos[0, 0] += 1e-6
    assert Splits(shapes[:3], [], copies).seen() == 2


def test_vertices_of_masked_graphs_in_train_and_test_are_counted_by_the_masks():
    def masked(number, low, high):
        graph = Data(x=torch.full((9, 1), number), y=torch.arange(9) % 2, mask=torch.arange(9) >= low)
        graph.mask[high:] = False
        return graph

    one = masked(0, 0, 4)
    assert Splits([one], [], [masked(0, 4, 9)]).seen() == 0
    assert Splits([one], [], [masked(0, 2, 9)]).seen() == 2
    assert Splits([one], [], [masked(1, 2, 9)]).seen() == 0
    whole = Data(x=one.x, y=one.y)
    assert (Splits([one], [], [whole]).seen(), Splits([whole], [], [one]).seen()) == (4, 4)
    train = [masked(number, 0, 4) for number in range(3)]
    assert Splits(train, [], [masked(0, 4, 9), masked(1, 3, 9), masked(2, 1, 9)]).seen() == 2


def test_a_mesh_of_modelnet_is_twice_in_its_files(real_data):
    """dresser_0231 of test is night_stand_0193 of train."""
    files = {
        split: [path.read_bytes() for path in real_data.glob(f"modelnet10_micro/*/{split}/*.off")]
        for split in ("train", "test")
    }
    twice = sum(content in files["train"] for content in files["test"])
    assert load_dataset("folder", root=str(real_data / "modelnet10_micro")).seen() == twice == 1


def test_ones_own_lists():
    shapes = [Data(pos=torch.rand(4, 3), y=torch.tensor([i])) for i in range(3)]

    class Mine:
        train, val, test, classes = shapes[:1], shapes[1:2], shapes[2:], ["a", "b", "c"]

    for given in (Mine, Mine(), {"train": shapes[:1], "test": shapes[2:], "classes": "abc"}):
        splits = as_splits(given)
        assert (splits.classes, len(splits.test)) == (("a", "b", "c"), 1)
        assert width(splits, "classify") == 3
        assert splits.task == "classify"
    assert as_splits({"train": shapes, "task": "label"}).task == "label"
    assert width(Splits(shapes), "classify") == 3
    assert width(Splits([Data(y=torch.rand(1, 5))]), "regress") == 5


@pytest.mark.parametrize("task", ["label", "regress-vertices"])
def test_a_shape_without_targets_stays_in_train_when_a_val_is_cut(task):
    """An atom has no bonds to be labelled."""
    numbers = [torch.zeros(bonds) if task == "regress-vertices" else torch.zeros(bonds).long() for bonds in range(11)]
    shapes = [Data(x=torch.rand(len(y) + 1, 1), y=y) for y in numbers]
    for seed in range(20):
        split = Splits(shapes, task=task).with_val(seed)
        assert len(split.val) == 2
        assert split.train[0] is shapes[0]
    for shape in shapes[:9]:
        shape.mask = torch.zeros(len(shape.y), dtype=torch.bool)
    for seed in range(20):
        split = Splits(shapes, task=task).with_val(seed)
        assert [len(split.train), len(split.val)] == [10, 1]
        assert split.val[0] in shapes[9:]


def test_too_few_shapes_for_a_val():
    with pytest.raises(cotan.CotanError, match=r"1 training shapes are too few to cut one; fit\(..., val_share=0\)"):
        Splits([Data(pos=torch.rand(4, 3), y=torch.tensor([0]))]).with_val()
    with pytest.raises(cotan.CotanError, match="1 training shapes are too few to cut one"):
        Splits([Data(pos=torch.rand(4, 3), y=torch.rand(1, 3))], task="regress").with_val()  # no mask parts its numbers
    unknown = [Data(pos=torch.rand(4, 3), y=torch.full((1, 1), torch.nan)) for _ in range(8)]
    with pytest.raises(cotan.CotanError, match="its 0 training shapes with a target are too few to cut one"):
        Splits(unknown, task="regress").with_val()


def test_groups_of_several_classes_that_begin_with_different_ones_are_cut():
    """As where one subject of four is left out, and each has shapes of all classes."""
    shapes = [Data(x=torch.rand(2, 1), y=torch.tensor([(i + i // 3) % 3]), group=i // 3) for i in range(9)]
    assert [int(s.y) for s in shapes[::3]] == [0, 1, 2]
    for seed in range(5):
        split = Splits(shapes).with_val(seed)
        assert len({s.group for s in split.val}) == 1
        assert [len(split.train), len(split.val)] == [6, 3]
    for shape in shapes:
        shape.y = torch.tensor([shape.group])  # train would lack the class of what is cut
    with pytest.raises(
        cotan.CotanError, match=r"of 3 groups, are too few to cut one; fit\(..., val_share=0\) trains on all"
    ):
        Splits(shapes).with_val()


def test_a_pyg_dataset_of_one_graph_with_masks():
    graph = cotan.load_dataset("blocks", nodes=30, classes=2).train[0].clone()
    del graph["mask"]
    for i, split in enumerate(("train", "val", "test")):
        graph[f"{split}_mask"] = torch.arange(30) % 3 == i

    class One(torch.utils.data.Dataset):  # as PyG's datasets are
        def __len__(self):
            return 1

        def __getitem__(self, _):
            return graph

    for given in ([graph], One()):
        splits = as_splits(given)
        assert [int(split[0].mask.sum()) for split in (splits.train, splits.val, splits.test)] == [10, 10, 10]
    with pytest.raises(cotan.CotanError, match=r"got a list: cut it, cotan.Splits\(train=data"):
        as_splits([graph, graph])
    for split in ("train", "val", "test"):
        del graph[f"{split}_mask"]
    for given in (graph, [graph], One()):
        with pytest.raises(
            cotan.CotanError, match=r"of one graph, torch_geometric.transforms.RandomNodeSplit\(\)\(data"
        ):
            as_splits(given)


def test_a_reader_that_fails_is_named(monkeypatch):
    from cotan import registry

    def broken():
        raise EOFError("ran out")

    monkeypatch.setitem(registry._state.definitions, ("dataset", "broken"), [])
    cotan.dataset("broken")(broken)
    with pytest.raises(cotan.CotanError, match="dataset 'broken': EOFError: ran out"):
        cotan.load_dataset("broken")


def test_a_folder_that_is_given_for_a_datasets_name_is_told_apart(tmp_path):
    with pytest.raises(
        cotan.CotanError, match=r"is a folder; meshes in one are the dataset 'folder' with the option root="
    ):
        cotan.load_dataset(str(tmp_path))


def test_a_dataset_that_gives_a_list_is_named(scratch):
    @cotan.dataset("listed-here")
    def listed_here():
        return [1]

    with pytest.raises(cotan.CotanError, match="dataset 'listed-here' gives a list: expected"):
        cotan.load_dataset("listed-here")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file", "a.csv"), "dataset 'broken-here': .*No such file.*a.csv"),
        (ValueError("too few"), "dataset 'broken-here': too few"),
        (KeyError("y"), "dataset 'broken-here': KeyError: 'y'"),
        (cotan.CotanError("own words"), "^own words"),
    ],
)
def test_what_a_dataset_raises_is_said_with_its_name(scratch, error, said):
    @cotan.dataset("broken-here")
    def broken_here():
        raise error

    with pytest.raises(cotan.CotanError, match=said):
        cotan.load_dataset("broken-here")


def test_a_dataset_may_be_given_by_its_name():
    model = cotan.model_for("mlp", "xor", seed=0)
    assert cotan.evaluate(model, "xor") == cotan.evaluate(model, load_dataset("xor"))
