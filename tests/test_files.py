import pytest
import torch

import cotan


@pytest.mark.parametrize("suffix", ["off", "obj", "ply", "stl"])
def test_a_mesh_goes_there_and_back(suffix, sphere, tmp_path):
    cotan.write(sphere, tmp_path / f"s.{suffix}")
    back = cotan.read(tmp_path / f"s.{suffix}")
    assert back.pos.dtype == torch.float32
    assert back.num_nodes == 642
    a, b = (torch.sort(cotan.compute(d, "mass")).values for d in (sphere, back))
    assert torch.allclose(a, b, rtol=1e-4)


def test_double_keeps_the_files_digits(tmp_path):
    (tmp_path / "t.off").write_text("OFF\n3 1 0\n0.123456789012 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert float(cotan.read(tmp_path / "t.off", dtype=torch.float64).pos[0, 0]) == 0.123456789012


def test_seams_are_welded_unless_told_not_to(tmp_path):
    (tmp_path / "s.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 4 6 5\n")
    welded, split = cotan.read(tmp_path / "s.obj"), cotan.read(tmp_path / "s.obj", weld=False)
    assert (welded.num_nodes, split.num_nodes) == (4, 6)
    assert torch.equal(welded.pos[welded.face], split.pos[split.face])


def test_graphs_of_each_kind(tmp_path):
    import networkx
    import scipy.sparse

    g = networkx.karate_club_graph()
    networkx.write_graphml(networkx.Graph(g.edges), tmp_path / "g.graphml")
    networkx.write_edgelist(g, tmp_path / "g.edgelist", data=False)
    scipy.sparse.save_npz(tmp_path / "g.npz", scipy.sparse.csr_matrix(networkx.to_scipy_sparse_array(g, weight=None)))
    for name in ("g.graphml", "g.edgelist", "g.npz"):
        data = cotan.read(tmp_path / name)
        assert (data.num_nodes, data.edge_index.shape[1]) == (34, 2 * 78)
        assert "edge_weight" not in data
    values = cotan.compute(cotan.read(tmp_path / "g.npz"), "spectrum", k=34, dtype=torch.float64).values
    expected = torch.tensor(networkx.laplacian_spectrum(g, weight=None)).sort().values
    assert torch.allclose(values, expected, atol=1e-9)


def test_write_leaves_nothing_half_written(sphere, tmp_path):
    with pytest.raises(cotan.CotanError, match="unknown kind of file"):
        cotan.write(sphere, tmp_path / "s.doc")
    assert list(tmp_path.iterdir()) == []
