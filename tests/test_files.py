import pytest
import torch
import trimesh

import cotan


@pytest.mark.parametrize("suffix", ["off", "obj", "ply", "stl"])
def test_a_mesh_goes_there_and_back(suffix, sphere, tmp_path):
    cotan.write(sphere, tmp_path / f"s.{suffix}")
    back = cotan.read(tmp_path / f"s.{suffix}")
    assert back.pos.dtype == torch.float32
    assert back.num_nodes == 642
    a, b = (torch.sort(cotan.compute(d, "mass")).values for d in (sphere, back))
    assert torch.allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("suffix", ["3mf", "dae"])
def test_formats_of_the_extra(suffix, tmp_path):
    pytest.importorskip("lxml")
    pytest.importorskip("collada")
    ball = trimesh.creation.icosphere(1)
    (tmp_path / f"s.{suffix}").write_bytes(ball.export(file_type=suffix))
    back = cotan.read(tmp_path / f"s.{suffix}")
    assert (back.num_nodes, back.face.shape[1]) == (42, 80)


def test_a_format_whose_reader_is_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(trimesh, "available_formats", lambda: {"off"})
    (tmp_path / "s.3mf").write_bytes(b"PK")
    with pytest.raises(cotan.CotanError, match=r"need lxml and pycollada: pip install 'cotan\[formats\]'"):
        cotan.read(tmp_path / "s.3mf")


def test_a_scene_is_its_meshes_or_else_its_points(tmp_path):
    ball, points = trimesh.creation.icosphere(1), trimesh.PointCloud([[9.0, 9, 9], [8, 8, 8]])
    for name, parts in {"both": [ball, points], "points": [points, points]}.items():
        (tmp_path / f"{name}.glb").write_bytes(trimesh.Scene(parts).export(file_type="glb"))
    both, alone = (cotan.read(tmp_path / f"{name}.glb") for name in ("both", "points"))
    assert (both.num_nodes, float(both.pos.max())) == (42, pytest.approx(1))
    assert "face" not in alone
    assert sorted(alone.pos[:, 0].tolist()) == [8, 8, 9, 9]


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


BROKEN = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nv 5 5 5\nf 1 2 3\nf 2 3 4\nf 1 1 2\n"


def test_what_is_wrong_is_said_in_one_warning(tmp_path):
    (tmp_path / "b.obj").write_text(BROKEN)
    with pytest.warns(cotan.MeshWarning) as said:
        data = cotan.read(tmp_path / "b.obj")
    assert [str(w.message) for w in said] == [
        f"{tmp_path / 'b.obj'} has 1 degenerate faces, 1 flipped faces, 1 unreferenced vertices; "
        "read(..., repair=True) mends what can be"
    ]
    assert said[0].filename == __file__
    assert (data.num_nodes, data.face.shape[1]) == (5, 3)


def test_repair_mends_and_says_what_it_did(tmp_path):
    (tmp_path / "b.obj").write_text(BROKEN)
    with pytest.warns(
        cotan.MeshWarning, match=r"^repaired .*b.obj: dropped 1 faces that name a vertex twice, .* turned"
    ):
        data = cotan.read(tmp_path / "b.obj", repair=True)
    assert (data.num_nodes, data.face.shape[1], data.pos.dtype) == (4, 2, torch.float32)
    cotan.write(data, tmp_path / "again.obj")
    assert cotan.read(tmp_path / "again.obj", repair=True).num_nodes == 4  # and no warning, which would be an error


def test_repair_drops_what_is_not_finite(tmp_path):
    (tmp_path / "n.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv nan 1 0\nf 1 2 3\nf 2 4 3\n")
    with pytest.raises(cotan.CotanError, match="NaN or infinite coordinates at 1 of 4 vertices"):
        cotan.read(tmp_path / "n.obj")
    with pytest.warns(cotan.MeshWarning, match="dropped 1 vertices that are not finite"):
        assert cotan.read(tmp_path / "n.obj", repair=True).num_nodes == 3


def test_nothing_left_after_repair_is_one_error(tmp_path):
    (tmp_path / "d.obj").write_text("v 0 0 0\nv 1 0 0\nf 1 2 2\n")
    with pytest.raises(cotan.CotanError, match=r"d.obj: repair: no face is left"):
        cotan.read(tmp_path / "d.obj", repair=True)


def test_the_teapots_seams_are_welded(real_data):
    with pytest.warns(cotan.MeshWarning, match="1 non manifold vertices"):
        teapot = cotan.read(real_data / "meshes" / "hard" / "teapot.obj")
    assert (teapot.num_nodes, teapot.face.shape[1]) == (3241, 6320)
    assert cotan.compute(teapot, "mesh_report")["duplicate_vertices"] == 0
