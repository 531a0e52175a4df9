"""Batches: one shape alone and the same shape among others are the same."""

import pickle
import weakref
from datetime import date
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

import cotan
from cotan.collation import collate, uncollate
from cotan.values import digest, is_live, map_tensors, move, put_together


class Pair(NamedTuple):
    a: torch.Tensor
    b: cotan.Sparse


def random_spectrum(vertices, pairs):
    return cotan.Spectrum(torch.rand(pairs).sort().values, torch.randn(vertices, pairs))


def test_a_batch_of_one_is_the_value_itself():
    for value in (torch.randn(4, 2), random_spectrum(5, 3)):
        assert collate([value], per="vertex", vertices=[4]) is value


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=5))
def test_spectra_of_any_sizes_act_as_their_blocks(sizes):
    spectra = [random_spectrum(v, min(v, k)) for v, k in sizes]
    batch = collate(spectra, per=None)
    signals = [torch.randn(v, 2) for v, _ in sizes]
    forth = batch.vectors.T @ torch.cat(signals)
    expected = torch.cat([s.vectors.T @ x for s, x in zip(spectra, signals)])
    assert torch.allclose(forth, expected, atol=1e-5)
    back = batch.vectors @ (batch.values[:, None] * forth)
    assert torch.allclose(
        back,
        torch.cat([s.vectors @ (s.values[:, None] * (s.vectors.T @ x)) for s, x in zip(spectra, signals)]),
        atol=1e-4,
    )
    assert batch.index.tolist() == [i for s in spectra for i in range(len(s.values))]
    for one, other in zip(uncollate(batch, [v for v, _ in sizes]), spectra):
        assert torch.equal(one.values, other.values)
        assert torch.equal(one.vectors, other.vectors)


@pytest.mark.parametrize("second", [(4, 3), (5, 2)], ids=["equal blocks", "others"])
@pytest.mark.parametrize("tail", [(), (0,), (1,), (3,), (3, 3), (2, 0)])
def test_block_diagonal_vectors_take_signals_of_any_shape(second, tail):
    vectors = collate([random_spectrum(4, 3), random_spectrum(*second)], per=None).vectors
    dense = torch.block_diag(*vectors.blocks())
    for matrix, whole in ((vectors, dense), (vectors.T, dense.T)):
        x = torch.randn(whole.shape[1], *tail)
        torch.testing.assert_close(matrix @ x, torch.tensordot(whole, x, 1))


def test_block_diagonal_vectors_refuse_what_would_mix_shapes():
    batch = collate([random_spectrum(4, 2), random_spectrum(5, 2)], per=None)
    with pytest.raises(TypeError):
        batch.vectors**2
    with pytest.raises(TypeError):
        torch.randn(3, 9) @ batch.vectors
    with pytest.raises(cotan.CotanError, match=r"shape \(9, 4\) times a signal of 3 rows"):
        batch.vectors @ torch.randn(3, 1)


def test_vertex_numbers_are_offset_and_laid_out_as_in_pyg():
    from torch_geometric.data import Batch

    graphs = [Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=n) for n in (3, 4)]
    ours = collate([g.edge_index for g in graphs], per="edge", index="vertex", vertices=[3, 4])
    assert torch.equal(ours, Batch.from_data_list(graphs).edge_index)
    neighbours = collate([torch.tensor([[1], [0]]), torch.tensor([[0]])], per="vertex", index="vertex", vertices=[2, 1])
    assert neighbours.tolist() == [[1], [0], [2]]


@pytest.mark.parametrize(
    ("per", "numbers"),
    [
        ("edge", [[[0, 2], [1, 0]], [[], []], [[1], [0]], [[], []]]),
        ("vertex", [[2, 0], [0], [1], []]),  # some vertices of each shape
        ("vertex", [[[1, 2], [0, 2], [0, 1]], [[0, 0]], [[1, 1], [0, 0]], []]),  # neighbours of each
    ],
)
def test_vertex_numbers_are_cut_again(per, numbers):
    values, vertices = [torch.tensor(n, dtype=torch.long) for n in numbers], [3, 1, 2, 0 if per == "vertex" else 4]
    values[-1] = values[-1].reshape(0, *values[0].shape[1:]) if per == "vertex" else values[-1]
    batch = collate(values, per=per, index="vertex", vertices=vertices)
    for one, other in zip(uncollate(batch, vertices, per=per, index="vertex"), values, strict=True):
        assert torch.equal(one, other)


def test_matrices_are_cut_again_with_their_transposes():
    vertices, blocks = [3, 1, 4], []
    for n in vertices:
        index = torch.randint(n, (2, 9)) * torch.tensor([[2], [1]])
        blocks.append(cotan.Sparse.from_coo(*index, torch.randn(9), (2 * n, n)))
    for block, cut in zip(blocks, uncollate(collate(blocks, per=None), vertices), strict=True):
        assert torch.equal(cut.values, block.values)
        assert cut.shape == block.shape
        for name in ("rowptr", "col", "row", "t_rowptr", "t_col", "t_perm"):
            assert torch.equal(getattr(cut.pattern, name), getattr(block.pattern, name)), name


def test_a_named_tuple_is_collated_field_by_field_and_cut_again():
    values = [
        Pair(torch.randn(n, 2), cotan.Sparse.from_coo(torch.arange(n), torch.arange(n), torch.rand(n), (n, n)))
        for n in (2, 3)
    ]
    batch = collate(values, per="vertex", vertices=[2, 3])
    assert isinstance(batch, Pair)
    assert batch.b.shape == (5, 5)
    for one, other in zip(uncollate(batch, [2, 3]), values):
        assert torch.equal(one.a, other.a)
        assert torch.equal(one.b.to_dense(), other.b.to_dense())


def test_matrices_on_one_pattern_stay_on_one_pattern():
    class Two(NamedTuple):
        x: cotan.Sparse
        y: cotan.Sparse

    shapes = []
    for size in (3, 4):
        x = cotan.Sparse.from_coo(*torch.randint(size, (2, 5)), torch.randn(5), (size, size))
        shapes.append(move(Two(x, x.with_values(torch.randn(5))), dtype=torch.float64))
    both = collate(shapes, per=None)
    assert both.x.pattern is both.y.pattern
    for part, whole in zip(zip(*shapes, strict=True), both, strict=True):
        assert torch.equal(whole.to_dense(), torch.block_diag(*(matrix.to_dense() for matrix in part)))


def test_a_tensor_without_per_is_refused_by_name():
    with pytest.raises(
        cotan.CotanError,
        match=r"node 'thing' gives a tensor, so its operator says per=.*cotan\.source\('thing', per=\.\.\.\)",
    ):
        collate([torch.ones(2), torch.ones(2)], per=None, name="thing")


def test_batch_and_ptr(tetrahedron):
    layer = cotan.create_layer("linear", 3, 2)
    layer.needs = {}
    model = cotan.create_model("linear", 3, 2, depth=1)
    values = cotan.inputs(model, [tetrahedron, tetrahedron])
    assert values["batch"].tolist() == [0] * 4 + [1] * 4
    assert values["ptr"].tolist() == [0, 4, 8]


def test_digest_sees_dtype_shape_and_every_bit():
    x = torch.zeros(2, 3)
    other = [x.double(), x.reshape(3, 2), torch.nextafter(x, torch.ones(())), torch.zeros(2, 3, dtype=torch.int32)]
    assert len({digest(v) for v in (x, *other)}) == 5
    assert digest(x) == digest(x.clone())
    assert digest(x.T.contiguous().T) == digest(x)


@pytest.mark.cuda
def test_matrices_on_one_pattern_are_so_elsewhere(sphere, gpu):
    one, other = (move(cotan.compute(sphere, "gradient"), gpu) for _ in range(2))
    assert one.x.col is one.y.col
    batch = collate([one, other], per=None)
    assert batch.x.pattern is batch.y.pattern


def test_move_casts_floats_and_keeps_integers(sphere):
    L = move(cotan.compute(sphere, "laplacian"), dtype=torch.float64)
    assert L.values.dtype == torch.float64
    assert L.col.dtype == torch.int64
    assert (
        move(Data(pos=torch.ones(1, 3), face=torch.zeros(3, 1, dtype=torch.long)), dtype=torch.float64).pos.dtype
        == torch.float64
    )


def test_the_tensors_of_a_data_have_one_order():
    """PyG's keys are a set's: two equal ones may list them differently."""
    names = [f"number_{i}" for i in range(40)]
    seen = []
    for order in (names, names[::-1]):
        shape = Data(**{name: torch.tensor(names.index(name)) for name in order})
        found = []
        map_tensors(lambda t, found=found: found.append(int(t)) or t, shape)
        seen.append(found)
    assert seen[0] == seen[1]


def test_a_batch_of_spectra_is_a_spectrum_but_no_shape():
    spectra = [random_spectrum(5, 3), random_spectrum(4, 2)]
    batch = collate(spectra, per=None)
    assert uncollate(collate(spectra[:1], per=None), [5]) == spectra[:1]
    x = torch.randn(5, 2, dtype=torch.float64)
    double = batch.to(torch.float64)
    assert double.values.dtype == torch.float64
    expected = torch.cat([s.vectors.double() @ part for s, part in zip(spectra, x.split([3, 2]), strict=True)])
    torch.testing.assert_close(double.vectors @ x, expected)
    assert double.sizes == batch.sizes == (3, 2)
    assert repr(double) == "Spectrum(5 pairs, 9 vertices, torch.float64)"
    with pytest.raises(cotan.CotanError, match=r"first\(k\) is for the spectrum of one shape, not of a batch"):
        batch.first(2)
    with pytest.raises(cotan.CotanError, match="a batch of batches: give the spectra of single shapes"):
        collate([batch, batch], per=None)


def test_a_batch_of_spectra_has_their_vectors_once():
    """In its file, and in memory: its shapes may go."""
    spectra = [random_spectrum(50, 30), random_spectrum(40, 30)]
    batch = collate(spectra, per=None)
    assert len(pickle.dumps(batch)) < 1.5 * batch.vectors.rows.nbytes
    shape = weakref.ref(spectra.pop())
    assert shape() is None
    assert batch.simple
    assert pickle.loads(pickle.dumps(batch)).simple
    old = cotan.Spectrum.__new__(cotan.Spectrum)  # of a pickle from before it was kept what is simple
    vars(old).update(values=batch.values, vectors=batch.vectors, sizes=batch.sizes)
    assert old.simple


def test_values_per_edge_that_nothing_tells_apart_are_not_cut():
    with pytest.raises(cotan.CotanError, match="values per edge do not say where a shape begins"):
        uncollate(torch.ones(3), [2, 1], per="edge")


def test_a_file_never_says_what_to_import():
    for description in ({"tuple": "os:stat_result", "parts": []}, {"tuple": "nowhere:Two", "parts": []}):
        with pytest.raises(ValueError, match="is not a NamedTuple of a loaded module"):
            put_together(description, [])
    with pytest.raises(ValueError, match="unknown description"):
        put_together({"pickle": "..."}, [])


def test_records_of_a_batch_are_a_list():
    assert collate([{"genus": 1}, {"genus": 2}], per=None) == [{"genus": 1}, {"genus": 2}]


def test_what_does_not_fit_under_each_other_is_named():
    with pytest.raises(cotan.CotanError, match=r"node 'x' has another shape on each .*: \[\(3,\), \(4,\)\]"):
        collate([torch.zeros(5, 3), torch.zeros(5, 4)], per="vertex", name="x")
    with pytest.raises(cotan.CotanError, match=r"node 'face' .*: \[\(3,\), \(4,\)\]"):
        collate(
            [torch.zeros(3, 9).long(), torch.zeros(4, 9).long()],
            per="face",
            index="vertex",
            vertices=[9, 9],
            name="face",
        )


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_digests_of_sparse_tensors_and_of_texts():
    eye = torch.eye(3)
    for sparse in (torch.Tensor.to_sparse_csr, torch.Tensor.to_sparse_coo):
        assert digest(sparse(eye)) == digest(sparse(eye.clone())) != digest(sparse(2 * eye))
    assert digest(np.array(["a", "b"])) == digest(["a", "b"]) != digest(np.array(["a", "c"]))
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert digest(SimpleNamespace(__array_interface__=array.__array_interface__)) == digest(array)


def test_what_has_no_digest_is_named():
    with pytest.raises(cotan.CotanError, match=r"a source of type dict: expected a tensor, .* \(.*\bdate\b.*\)$"):
        digest({"made": date(2024, 2, 1)})
    with pytest.raises(cotan.CotanError, match=r"a source of type Sparse: .*; an operator of yours can give a Sparse"):
        digest(cotan.Sparse.from_coo(torch.tensor([0]), torch.tensor([1]), torch.ones(1), (2, 2)))


def test_what_derivatives_are_taken_of():
    x = torch.ones(2, requires_grad=True)
    assert is_live(x)
    assert is_live(Data(pos=x))
    assert not is_live(Data(pos=x.detach(), num_nodes=2))
    assert not is_live("text")
