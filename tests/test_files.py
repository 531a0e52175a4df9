import functools
import io
import itertools
import json
import logging
import operator
import os
import pkgutil
import shutil
import struct
import sys
import time
import warnings
import zipfile
from contextlib import nullcontext, suppress
from threading import Thread

import networkx
import numpy as np
import pytest
import torch
import trimesh
from scipy.sparse import csr_array, save_npz
from torch_geometric.data import Data
from torch_geometric.utils import dense_to_sparse, from_trimesh

import cotan
from cotan.colors import diverging
from cotan.files import COLORED


def npy(shape) -> bytes:
    """A file of numpy's that states a shape and has no numbers."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return content.getvalue()


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
    more = trimesh.PointCloud([[7.0, 7, 7], [6, 6, 6]])
    for name, parts in {"both": [ball, points], "points": [points, more]}.items():
        (tmp_path / f"{name}.glb").write_bytes(trimesh.Scene(parts).export(file_type="glb"))
    both, alone = (cotan.read(tmp_path / f"{name}.glb") for name in ("both", "points"))
    assert (both.num_nodes, float(both.pos.max())) == (42, pytest.approx(1))
    assert "face" not in alone
    assert sorted(alone.pos[:, 0].tolist()) == [6, 7, 8, 9]


def test_double_keeps_the_files_digits(tmp_path):
    (tmp_path / "t.off").write_text("OFF\n3 1 0\n0.123456789012 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert float(cotan.read(tmp_path / "t.off", dtype=torch.float64).pos[0, 0]) == 0.123456789012


def test_seams_are_welded_unless_told_not_to(tmp_path):
    (tmp_path / "s.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 4 6 5\n")
    welded = cotan.read(tmp_path / "s.obj")
    with pytest.warns(cotan.MeshWarning) as said:
        split = cotan.read(tmp_path / "s.obj", weld=False)
    assert [str(each.message) for each in said] == [
        f"{tmp_path}/s.obj has 2 vertices at the place of another, and 2 components; read(..., weld=True) joins them"
    ]
    assert (welded.num_nodes, split.num_nodes) == (4, 6)
    assert torch.equal(welded.pos[welded.face], split.pos[split.face])


def test_faces_of_materials_in_turn_keep_their_order(tmp_path):
    vertices = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nv 2 1 0\nv 2 2 0\n"
    faces = "usemtl a\nf 1 2 3\nusemtl b\nf 2 4 3\nusemtl a\nf 2 5 4\nusemtl b\nf 4 5 6\n"
    (tmp_path / "s.obj").write_text(vertices + faces)
    for weld in (True, False):
        data = cotan.read(tmp_path / "s.obj", weld=weld)
        assert data.num_nodes == 6
        assert data.face.T.tolist() == [[0, 1, 2], [1, 3, 2], [1, 4, 3], [3, 4, 5]]


LEVEL = "v 0 0 {z}\nv 1 0 {z}\nv 1 1 {z}\nv 0 1 {z}\nf -4 -3 -2\n"
SHEETS = LEVEL.format(z=0) + "f -4 -2 -1\n# above\n" + LEVEL.format(z=5) + "f 5 7 8\n"
ABSOLUTE = SHEETS.replace("-4 -3 -2", "1 2 3", 1).replace("-4 -3 -2", "5 6 7").replace("-4 -2 -1", "1 3 4")


@pytest.mark.parametrize(
    "odd",
    {
        "relative": lambda text: text,
        "tabs": lambda text: text.replace(" ", "\t"),
        "indented": lambda text: text.replace("\nf", "\n  f").replace("\nv", "\n\t v"),
        "comments": lambda _: ABSOLUTE.replace("\n", " # 1 2\n"),
        "continued": lambda text: text.replace("f -4 ", "f\\\n-4\\\r\n"),
        "texture": lambda text: text.replace("-4", "-4/-2").replace("-3", "-3/-1/-1").replace("-2\n", "-2//-1\n"),
        "windows": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        "absolute": lambda _: "\ufeff" + ABSOLUTE,
        "materials": lambda text: text.replace("f", "usemtl\ta\nf", 2),
    }.items(),
    ids=lambda item: item[0],
)
def test_an_obj_file_written_otherwise_is_the_same_mesh(odd, tmp_path):
    path = tmp_path / "s.obj"
    path.write_bytes(odd[1](SHEETS).encode())
    data = cotan.read(path)
    assert data.pos.tolist() == [[x, y, z] for z in (0, 5) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    assert data.face.T.tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    if odd[0] == "relative":  # the others libigl refuses or warns of
        igl = pytest.importorskip("igl")
        assert igl.read_triangle_mesh(str(path))[1].tolist() == data.face.T.tolist()


@pytest.mark.parametrize(("face", "wrong"), [("0 1 2", 0), ("1/1 2/2 0/3", 0), ("1 2 -4", -4)])
def test_vertices_of_an_obj_face_count_from_one(face, wrong, tmp_path):
    (tmp_path / "s.obj").write_text(f"v 0 0 0\nv 1 0 0\nv 1 1 0\nf {face}\nv 0 1 0\n")
    with pytest.raises(
        cotan.CotanError, match=f"s.obj has a face with vertex {wrong} after 3 vertices; an .obj counts from 1"
    ):
        cotan.read(tmp_path / "s.obj")


PRISM = [[0, 0, 0], [2, 0, 0], [3, 1, 0], [2, 2, 0], [0, 2, 0], [1, 1, 3]]  # a pentagon and an apex
SIDES = [[4, 3, 2, 1, 0], [0, 1, 5], [1, 2, 5], [2, 3, 5], [3, 4, 5], [4, 0, 5]]


@pytest.mark.parametrize("kind", ["off", "coff", "ascii", "binary_little_endian", "binary_big_endian"])
def test_polygons_of_several_kinds_are_fans_of_triangles(kind, tmp_path):
    header = f"ply\nformat {kind} 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element face 6\nproperty list uchar int vertex_indices\nend_header\n"
    lines = [" ".join(map(str, row)) for row in [*PRISM, *([len(side), *side] for side in SIDES)]]
    end = ">" if "big" in kind else "<"
    if kind == "off":
        content = "\n".join(["OFF", "6 6 0", *lines]).encode()
    elif kind == "coff":  # colours of vertices and of faces, comments
        lines = [line + (" 0.5 0.5 0.5 1" if i < 6 else " 255 0 0  # red") for i, line in enumerate(lines)]
        content = "\n".join(["# made by hand, not an OFF of old", "COFF", "", "6 6 0", *lines]).encode()
    elif kind == "ascii":
        content = (header + "\n".join(lines)).encode()
    else:
        sides = [struct.pack(f"{end}B{len(side)}i", len(side), *side) for side in SIDES]
        content = header.encode() + struct.pack(f"{end}18f", *[x for row in PRISM for x in row]) + b"".join(sides)
    path = tmp_path / ("p.off" if "off" in kind else "p.ply")
    path.write_bytes(content)
    data = cotan.read(path)
    report = cotan.compute(data, "mesh_report")
    assert (report["vertices"], report["faces"], report["closed"], report["euler"]) == (6, 8, True, 2)
    pentagon = 5.0  # the square of side 2 and the triangle at its side
    assert float(cotan.compute(data, "face_areas")[data.pos[data.face][..., 2].sum(0) == 0].sum()) == pytest.approx(
        pentagon
    )


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_triangle_strips_are_unrolled(kind, tmp_path):
    corners = [(x, y, 0) for x in range(4) for y in range(5)]
    rows = [[i for y in range(5) for i in (5 * x + y, 5 * x + 5 + y)] for x in range(3)]
    sewn = [*rows[1], rows[1][-1], rows[2][0], *rows[2]]  # two rows in one, by triangles without area
    strips = [*rows[0], -1, 0, 1, -1, *sewn, -1]
    header = f"ply\nformat {kind} 1.0\nelement vertex 20\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element tristrips {}\nproperty list int int vertex_indices\nend_header\n"
    end = ">" if "big" in kind else "<"
    points = "".join(f"{x} {y} {z}\n" for x, y, z in corners).encode()
    line = f"{len(strips)} {' '.join(map(str, strips))}\n".encode()
    if kind != "ascii":
        points = struct.pack(f"{end}60f", *[x for corner in corners for x in corner])
        line = struct.pack(f"{end}{1 + len(strips)}i", len(strips), *strips)
    path = tmp_path / "s.ply"
    path.write_bytes(header.format(1).encode() + points + line)
    data = cotan.read(path)
    normals = cotan.compute(data, "face_normals")
    report = cotan.compute(data, "mesh_report")
    assert torch.allclose(normals, torch.tensor([0.0, 0, 1]).expand(24, 3))
    assert (report["vertices"], report["euler"], report["manifold"]) == (20, 1, True)
    assert float(cotan.compute(data, "face_areas").sum()) == pytest.approx(12)
    if kind != "ascii":  # lists of several lengths, which trimesh does not read
        more = struct.pack(f"{end}4i", 3, 0, 1, 5)
        path.write_bytes(header.format(2).encode() + points + line + more)
        with pytest.raises(cotan.CotanError, match="cannot be read as a mesh"):
            cotan.read(path)


SOLID = b"solid part\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
CUT = {
    "cut.off": (b"OFF\n3 4 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "ends after 1 of its 4 faces"),
    "quads.off": (b"OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", "ends after 1 of its 2 faces"),
    "line.off": (
        b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 0 1\n",
        "states 2 faces and has 1 with all their corners",
    ),
    "long.ply": (  # of which a parser would look for each
        b"ply\nformat ascii 1.0\nelement vertex 9999999999\nproperty float x\nproperty float y\nproperty float z\n"
        b"element face 9999999999\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n",
        "ends after 0 of its 9999999999 faces",
    ),
    "long_binary.ply": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 9999999999\nproperty float x\nproperty float y\n"
        b"property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n" + bytes(40),
        "cannot be read as a mesh; is it a whole .ply file",
    ),
    "corners.ply": (  # of which trimesh takes three
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face 2\n"
        b"property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n4 0 1 2\n",
        "face 1 states 4 corners and has 3",
    ),
    "none.off": (b"OFF\n0 0 0\n", "has no vertices"),
    "hexadecimal.off": (b"OFF\n3 0x1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "does not begin with OFF and the numbers"),
    "second.stl": (  # solid, of which trimesh takes the first
        SOLID + b"endsolid\n" + SOLID,
        "states 2 faces and has 1 of three corners; is it a whole file",
    ),
    "words.off": (
        b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 one 0\n3 0 1 2\n",
        "cannot be read as a mesh; is it a whole .off file?",
    ),
    "binary.off": (b"OFF BINARY\n" + bytes(60), "does not begin with OFF and the numbers of vertices and faces"),
    "four.off": (b"# 4-space\n4OFF\n3 1 0\n0 0 0 1\n1 0 0 1\n0 1 0 1\n3 0 1 2\n", "of four or more dimensions"),
    "flat.obj": (b"v 1 2\nv 2 3\n", "has vertices of 2 coordinates, expected three"),
    "lines.gltf": (b'{"asset": {"version": "2.0"}}', "no vertices of triangles or points; is it a whole .gltf file"),
    "short.gltf": (
        b'{"asset": {"version": "2.0"}, "buffers": [{"byteLength": 3, "uri": "data:application/octet-stream;base64,AAAA"}], '
        b'"bufferViews": [{"buffer": 0, "byteLength": 9}], "accessors": [], "scenes": [{"nodes": []}], "scene": 0}',
        r"is it a whole .gltf file\? \(AssertionError\)",
    ),
    "zeros.gltf": (
        b'{"asset": {"version": "2.0"}, "accessors": [{"componentType": 5126, "type": "VEC3", "count": 200000000}]}',
        "has 105 bytes and states 4800000000 of accessors without a buffer",
    ),
    "header.npy": (
        npy((5, 3)).replace(b")", b" "),
        "cannot be read as points, rows of x y z and more numbers: .*EOF in",
    ),
}
CUT["zeros.glb"] = (
    b"glTF" + struct.pack("<4I", 2, 125, 105, 0x4E4F534A) + CUT["zeros.gltf"][0],
    "has 125 bytes and states",
)


@pytest.mark.parametrize("name", CUT)
def test_what_is_no_whole_mesh_is_refused_in_one_line(name, tmp_path):
    content, sentence = CUT[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(cotan.CotanError, match=sentence) as refusal:
        cotan.read(tmp_path / name)
    assert "\n" not in str(refusal.value)


def test_a_compressed_scene_is_refused_and_not_read_as_zeros(tmp_path, capsys):
    ball = trimesh.creation.icosphere(1)
    tree = json.loads(trimesh.Scene(ball).export(file_type="gltf")["model.gltf"])
    for accessor in tree["accessors"]:
        accessor.pop("bufferView", None)
    tree["meshes"][0]["primitives"][0]["extensions"] = {
        "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {}}
    }
    tree["buffers"] = [{"byteLength": 4, "uri": "data:application/octet-stream;base64,AAAAAA=="}]
    tree["bufferViews"] = [{"buffer": 0, "byteLength": 4}]
    (tmp_path / "d.gltf").write_text(json.dumps(tree))
    with pytest.raises(cotan.CotanError, match="is compressed: `KHR_draco_mesh_compression`"):
        cotan.read(tmp_path / "d.gltf")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("drawn", [False, True])
def test_morph_targets_have_no_buffer_and_are_not_read(drawn, tmp_path):
    """As of a face with many expressions; what is drawn as well is zeros in memory."""
    parts = trimesh.Scene(trimesh.creation.icosphere(1)).export(file_type="gltf")
    tree = json.loads(parts.pop("model.gltf"))
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    tree["accessors"].append({"componentType": 5126, "type": "VEC3", "count": 3_000_000})
    last = len(tree["accessors"]) - 1
    tree["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": last}]
    if drawn:
        tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = last - len(tree["accessors"])
    (tmp_path / "face.gltf").write_text(json.dumps(tree))
    refused = pytest.raises(cotan.CotanError, match="states 72000000 of accessors without a buffer")
    with refused if drawn else nullcontext():
        assert cotan.read(tmp_path / "face.gltf").num_nodes == 42


NOT_DRAWN = {  # what is set at a place of a glTF file
    "positions in normalized integers": (("accessors", 1), {"normalized": True, "componentType": 5122}),
    "sparse accessors": (("accessors", 1), {"sparse": {"count": 1}}),
    "triangle fans": (("meshes", 0, "primitives", 0), {"mode": 6}),
    "EXT_mesh_gpu_instancing": ((), {"extensionsUsed": ["EXT_mesh_gpu_instancing"]}),
    "EXT_meshopt_compression": ((), {"extensionsRequired": ["EXT_meshopt_compression"]}),
}


@pytest.mark.parametrize("what", NOT_DRAWN)
def test_what_a_gltf_has_beyond_plain_triangles_is_refused(what, tmp_path):
    two = trimesh.Scene([trimesh.creation.box(), trimesh.creation.icosphere(1)])
    tree = json.loads(two.export(file_type="gltf").pop("model.gltf"))
    place, value = NOT_DRAWN[what]
    functools.reduce(operator.getitem, place, tree).update(value)
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    with pytest.raises(
        cotan.CotanError, match=f"a.gltf has {what}.*, which cotan does not read; export plain triangles"
    ):
        cotan.read(tmp_path / "a.gltf")


def test_meshopt_beside_plain_buffers_is_not_refused(tmp_path):
    """As by gltfpack -cf: only where the extension is required have its buffers no plain content."""
    parts = trimesh.Scene(trimesh.creation.icosphere(1)).export(file_type="gltf")
    tree = json.loads(parts.pop("model.gltf"))
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    tree["extensionsUsed"] = ["EXT_meshopt_compression"]
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    assert cotan.read(tmp_path / "a.gltf").num_nodes == 42


def test_morphs_that_are_left_out_are_said_where_they_are_shown(tmp_path):
    parts = trimesh.Scene(trimesh.creation.icosphere(1)).export(file_type="gltf")
    tree = json.loads(parts.pop("model.gltf"))
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    tree["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": 1}]
    for weights in ([0], [0.5]):
        tree["meshes"][0]["weights"] = weights
        (tmp_path / "face.gltf").write_text(json.dumps(tree))
        said = (
            pytest.warns(cotan.MeshWarning, match="face.gltf: morph targets are left out")
            if any(weights)
            else nullcontext()
        )
        with said:
            assert cotan.read(tmp_path / "face.gltf").num_nodes == 42


@pytest.mark.parametrize(("suffix", "reader"), [(".off", "numpy.fromstring"), (".stl", "trimesh.load")])
def test_what_another_thread_reads_meanwhile_changes_nothing(suffix, reader, tmp_path, monkeypatch):
    path = tmp_path / f"ball{suffix}"
    cotan.write(from_trimesh(trimesh.creation.icosphere(1)), path)
    alone = cotan.read(path)
    read, filters, seen = pkgutil.resolve_name(reader), list(warnings.filters), []

    def meanwhile(*args, **options):
        seen.append(list(warnings.filters))  # the process's: where threads come and go crosswise, one's last for ever
        other = Thread(target=logging.getLogger("trimesh").warning, args=["a placeholder, in the other's file"])
        other.start()
        other.join()
        return read(*args, **options)

    monkeypatch.setattr(reader, meanwhile)
    assert torch.equal(cotan.read(path).pos, alone.pos)
    assert seen == [filters]


def test_points_at_one_place_are_one_point(tmp_path):
    points = torch.nn.functional.normalize(torch.randn(300, 3, generator=torch.Generator().manual_seed(0)))
    for name, copies in {"once.xyz": 1, "often.xyz": 4}.items():
        lines = [" ".join(map(str, row)) for row in points.repeat_interleave(copies, 0).tolist()]
        (tmp_path / name).write_text("\n".join(lines))
    once, often = (cotan.read(tmp_path / name) for name in ("once.xyz", "often.xyz"))
    assert torch.equal(once.pos, often.pos)
    assert cotan.read(tmp_path / "often.xyz", weld=False).num_nodes == 1200


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", ["off", "obj"])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-8, 0), (1e-30, 0), (1e6, 0), (1, 5e5)])
def test_text_keeps_the_floats(suffix, dtype, scale, offset, sphere, tmp_path):
    pos = (scale * sphere.pos.double() + offset).to(dtype)
    colors = torch.rand(642, 3)
    for given in (None, colors):
        cotan.write(Data(pos=pos, face=sphere.face), tmp_path / f"s.{suffix}", colors=given)
        back = cotan.read(tmp_path / f"s.{suffix}", dtype=dtype)
        assert torch.equal(back.pos, pos)
        assert torch.equal(back.face, sphere.face)
    cotan.write(Data(pos=pos), tmp_path / f"s.{suffix}")
    assert torch.equal(cotan.read(tmp_path / f"s.{suffix}", dtype=dtype).pos, pos)
    igl = pytest.importorskip("igl")
    cotan.write(Data(pos=pos, face=sphere.face), tmp_path / f"s.{suffix}", colors=colors)
    vertices, faces = igl.read_triangle_mesh(str(tmp_path / f"s.{suffix}"))
    assert torch.equal(torch.from_numpy(vertices).to(dtype), pos)
    assert torch.equal(torch.from_numpy(faces).T, sphere.face)


@pytest.mark.parametrize("suffix", ["stl", "glb"])
def test_float32_files_say_what_they_move(suffix, sphere, tmp_path):
    far = Data(pos=sphere.pos.double() + 5e5, face=sphere.face)
    with pytest.warns(
        cotan.MeshWarning, match=r"^torch.float32 is too coarse for .*by up to 0.0.*; write .obj, .off or .ply$"
    ) as said:
        cotan.write(far, tmp_path / f"s.{suffix}")
    assert said[0].filename == __file__
    small = Data(pos=sphere.pos.double() * 1e-8, face=sphere.face)
    cotan.write(small, tmp_path / f"s.{suffix}")  # and no warning, which would be an error
    assert cotan.read(tmp_path / f"s.{suffix}").num_nodes == 642


@pytest.mark.parametrize("suffix", ["off", "obj", "ply", "stl", "glb"])
def test_what_read_refuses_is_not_written(suffix, sphere, tmp_path):
    pos, face = sphere.pos, sphere.face
    refused = {
        "write: 1 of 642 vertices are not finite": (torch.where(torch.arange(642)[:, None] == 3, torch.nan, pos), face),
        "face out of range: vertex numbers 1 to 642, expected 0 to 641": (pos, face + 1),
        r"write: pos is \(642, 2\), expected vertices": (pos[:, :2], face),
        r"face: expected shape \(3, F\), got \(1280, 3\)": (pos, face.T),
    }
    if suffix in ("stl", "glb"):
        refused[f"s.{suffix}: a .{suffix} is written of faces, and the shape has none; .off, .obj and .ply"] = (
            pos,
            None,
        )
    for message, (points, faces) in refused.items():
        with pytest.raises(cotan.CotanError, match=message):
            cotan.write(Data(pos=points, face=faces), tmp_path / f"s.{suffix}")
    assert list(tmp_path.iterdir()) == []
    half = Data(pos=pos.bfloat16(), face=face)
    cotan.write(half, tmp_path / f"s.{suffix}")
    assert torch.equal(cotan.read(tmp_path / f"s.{suffix}").pos.unique(dim=0), half.pos.float().unique(dim=0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("suffix", "points"), [*((k, False) for k in COLORED), (".off", True), (".obj", True), (".ply", True)]
)
def test_shapes_go_there_and_back_with_their_colours(suffix, points, seed, sphere, tmp_path):
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(642, generator=g)
    pos = torch.empty_like(sphere.pos)
    pos[order] = sphere.pos * 10 ** (6 * torch.rand(3, generator=g) - 3) + torch.randn(3, generator=g)
    shape = Data(pos=pos, color=torch.rand(642, 3, generator=g))
    if not points:
        shape.face = order[sphere.face][:, torch.randperm(1280, generator=g)]
    cotan.write(shape, tmp_path / f"s{suffix}")
    back = cotan.read(tmp_path / f"s{suffix}")
    assert sorted(back.keys()) == sorted(shape.keys())
    assert torch.equal(back.pos, pos)
    assert torch.allclose(back.color, shape.color, atol=0.501 / 255)
    assert points or torch.equal(back.face, shape.face)
    cotan.write(back, tmp_path / f"again{suffix}")  # nothing more is lost
    assert torch.equal(cotan.read(tmp_path / f"again{suffix}").color, back.color)
    cotan.write(back, tmp_path / f"s{suffix}", colors=torch.zeros(642, 3))  # what is asked for comes first
    assert not cotan.read(tmp_path / f"s{suffix}").color.any()


def test_an_stl_keeps_the_triangles(sphere, tmp_path):
    cotan.write(sphere, tmp_path / "s.stl")
    back = cotan.read(tmp_path / "s.stl")
    assert torch.equal(back.pos[back.face], sphere.pos[sphere.face])
    assert cotan.read(tmp_path / "s.stl", weld=False).num_nodes == sphere.num_nodes


COLORS = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
COFF = {  # the row of a vertex by Geomview, MeshLab and libigl, with normals, and with texture
    "geomview": ("COFF", "{x} {y} 0 {r} {g} {b} 1"),
    "words": ("COFF # Geomview's\n", "{x} {y} 0 {r}.0 {g}.0 {b}.0 1.0  # opaque"),
    "meshlab": ("COFF", "{x} {y} 0 {R} {G} {B} 255"),
    "libigl": ("COFF", "{x} {y} 0 {R} {G} {B}"),
    "normals": ("CNOFF", "{x} {y} 0 0 0 1 {R} {G} {B} 255"),
    "texture": ("STCOFF", "{x} {y} 0 {r} {g} {b} 1 0.5 0.5"),
}


@pytest.mark.parametrize("kind", COFF)
def test_colours_of_off_files_of_others(kind, tmp_path):
    word, row = COFF[kind]
    places = [(0, 0), (1, 0), (1, 1), (0, 1)]
    lines = [
        row.format(x=x, y=y, r=r, g=g, b=b, R=255 * r, G=255 * g, B=255 * b)
        for (x, y), (r, g, b) in zip(places, COLORS)
    ]
    (tmp_path / "s.off").write_text("\n".join([word, "4 2 0", *lines, "3 0 1 2", "3 0 2 3", ""]))
    data = cotan.read(tmp_path / "s.off")
    assert (data.color.tolist(), data.face.T.tolist()) == (COLORS, [[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(("number", "full"), [("uchar", 255), ("ushort", 65535), ("float", 1), ("float", 255)])
@pytest.mark.parametrize("faces", [(3, 3), (4, 3)])
def test_colours_of_a_ply_with_texture_and_its_vertices_as_they_stand(kind, number, full, faces, tmp_path):
    names = ["float x", "float y", "float z", "float s", "float t"] + [
        f"{number} {c}" for c in ("red", "green", "blue")
    ]
    order = ">" if "big" in kind else "<"
    rows = np.zeros(
        5, [(name, order + {"uchar": "u1", "ushort": "u2", "float": "f4"}[name.split()[0]]) for name in names]
    )
    places = [[0, 0, 5], [9, 9, 9], [1, 0, 5], [0, 1, 5], [1, 1, 5]]  # the second has no face
    colors = np.array([[0.2, 0.4, 0.6], [0, 0, 0], *np.eye(3)])
    for name, column in zip(names, [*np.array(places).T, *np.random.default_rng(0).random((2, 5)), *(full * colors).T]):
        rows[name] = column
    corners = [[4, 3, 2], [0, 2, 4, 3]]
    corners = [corner[:n] for corner, n in zip(corners[::-1], faces)]
    head = ["ply", f"format {kind} 1.0", "element vertex 5", *(f"property {name}" for name in names)]
    head += ["element face 2", "property list uchar int vertex_indices", "end_header\n"]
    if kind == "ascii":
        body = "".join(
            " ".join(map(str, row)) + "\n" for row in [*rows.tolist(), *([len(c), *c] for c in corners)]
        ).encode()
    else:
        body = rows.tobytes() + b"".join(struct.pack(f"{order}B{len(c)}i", len(c), *c) for c in corners)
    (tmp_path / "s.ply").write_bytes("\n".join(head).encode() + body)
    with warnings.catch_warnings(action="ignore"):  # of the vertex without a face
        shape = cotan.read(tmp_path / "s.ply")
    assert shape.pos.tolist() == places
    assert np.allclose(shape.color, colors, atol=1e-6)


SHADES = {  # as a file has them, and what they are
    "a little beyond 1": ("float", "1.02 0.5 0", [1, 0.5, 0]),
    "bytes in two": ("ushort", "255 51 0", [1, 0.2, 0]),
    "nearly black": ("uchar", "1 0 0", [1 / 255, 0, 0]),
    "some missing": ("float", "nan inf 0.5", [0, 0, 0.5]),
    "all missing": ("double", "nan nan nan", [0, 0, 0]),
    "bytes with a sign": ("char", "-1 -128 102", [1, 128 / 255, 0.4]),
}


@pytest.mark.parametrize("what", SHADES)
@pytest.mark.parametrize("strips", [False, True])
def test_odd_colours_of_a_ply(what, strips, tmp_path):
    kind, given, expected = SHADES[what]
    names = [f"property {kind} {name}" for name in ("red", "green", "blue")]
    head = ["ply", "format ascii 1.0", "element vertex 3", *(f"property float {axis}" for axis in "xyz"), *names]
    head += [f"element {'tristrips' if strips else 'face'} 1", "property list int int vertex_indices", "end_header"]
    (tmp_path / "s.ply").write_text(
        "\n".join([*head, *(f"{row} {given}" for row in ("0 0 0", "1 0 0", "0 1 0")), "3 0 1 2\n"])
    )
    shape = cotan.read(tmp_path / "s.ply")
    assert shape.face.T.tolist() == [[0, 1, 2]]
    assert np.allclose(shape.color, [expected] * 3)


def test_lines_of_a_ply_are_refused(tmp_path):
    head = ["ply", "format ascii 1.0", "element vertex 2", *(f"property float {axis}" for axis in "xyz")]
    head += ["element edge 1", "property int vertex1", "property int vertex2", "end_header", "0 0 0", "1 0 0", "0 1\n"]
    (tmp_path / "s.ply").write_text("\n".join(head))
    with pytest.raises(cotan.CotanError, match=r"s.ply has no vertices of triangles or points.*lines"):
        cotan.read(tmp_path / "s.ply")


def test_colours_follow_their_vertices(tmp_path):
    vertices = "v 5 5 5 0 0 0\nv 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\nv 0 0 0 0 0 0\nv 1 1 0 1 1 1\n"
    (tmp_path / "s.obj").write_text(vertices + "vt 0 0\nvt 1 1\nf 2/1 3/1 4/2\nf 4/1 3/2 6/1\nf 5 3 4\n")
    with pytest.warns(cotan.MeshWarning, match="repaired"):
        data = cotan.read(tmp_path / "s.obj", repair=True)
    assert data.pos.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
    assert data.color.tolist() == COLORS
    with pytest.warns(cotan.MeshWarning, match="unreferenced"):
        assert cotan.read(tmp_path / "s.obj").color.tolist() == [[0, 0, 0], *COLORS]


def test_colours_change_no_result(sphere, tmp_path):
    for name, colors in (("a.ply", None), ("b.ply", torch.rand(642, 3))):
        cotan.write(sphere, tmp_path / name, colors=colors)
    plain, coloured = (cotan.read(tmp_path / name) for name in ("a.ply", "b.ply"))
    model = cotan.create_model("multiview", in_dim=3, out_dim=2, size=16).eval()
    for use in (lambda d: cotan.compute(d, "heat_kernel_signature"), lambda d: cotan.apply(model, d)):
        assert torch.equal(use(plain), use(coloured))
    both = cotan.apply(model, [plain, coloured])
    assert torch.allclose(both[0], both[1])


def test_an_stl_may_have_any_name(tmp_path):
    (tmp_path / "s.stl").write_bytes(SOLID.replace(b"part", b"endfacets") + b"; endfacet\nENDSOLID endfacets\n")
    assert cotan.read(tmp_path / "s.stl").face.shape[1] == 1


def test_an_stl_holds_no_colours(sphere, tmp_path):
    with pytest.raises(cotan.CotanError, match=r"s.stl: a .stl file holds no colours, expected .off, .obj, .ply, .glb"):
        cotan.write(sphere, tmp_path / "s.stl", colors=sphere.pos[:, 0])
    sphere.color = torch.rand(642, 3)
    cotan.write(sphere, tmp_path / "s.stl")  # the shape alone


def test_digits_far_from_the_origin_are_kept(sphere, tmp_path):
    far = torch.tensor([5e5, 5.4e6, 120.0], dtype=torch.float64)
    moved = sphere.clone()
    moved.pos = 10 * sphere.pos.double() + far
    cotan.write(moved, tmp_path / "far.obj")
    assert torch.equal(cotan.read(tmp_path / "far.obj").pos, moved.pos)
    with pytest.warns(cotan.MeshWarning, match=r"^torch.float32 is too coarse for .*by up to 0.25"):
        assert cotan.read(tmp_path / "far.obj", dtype=torch.float32).pos.dtype == torch.float32
    assert cotan.read(tmp_path / "far.obj", dtype=torch.float64).pos.dtype == torch.float64
    stray = Data(pos=torch.cat([moved.pos, torch.zeros(1, 3, dtype=torch.float64)]))  # a missing value, say
    cotan.write(stray, tmp_path / "stray.ply")
    assert torch.equal(cotan.read(tmp_path / "stray.ply").pos, stray.pos)
    wide = torch.cat([0.01 * torch.rand(1100, 3), 1e6 * torch.rand(2000, 3)]).double() + 1 / 3  # a detail comes first
    cotan.write(Data(pos=wide), tmp_path / "wide.obj")
    assert cotan.read(tmp_path / "wide.obj").pos.dtype == torch.float32


def test_a_wide_tile_far_from_the_origin_keeps_its_cells(tmp_path):
    x = 10.03 * torch.arange(60, dtype=torch.float64)
    tile = Data(pos=torch.stack([*torch.meshgrid(x + 5e5, x + 5e6, indexing="ij"), x.expand(60, 60)], 2).view(-1, 3))
    corner = torch.arange(3600).view(60, 60)[:-1, :-1].flatten()
    tile.face = torch.cat(
        [torch.stack([corner, corner + 60, corner + 61]), torch.stack([corner, corner + 61, corner + 1])], 1
    )
    for suffix in ("ply", "obj", "off"):
        cotan.write(tile, tmp_path / f"tile.{suffix}")
        area = cotan.compute(cotan.read(tmp_path / f"tile.{suffix}"), "face_areas", dtype=torch.float64)
        assert torch.allclose(area, torch.tensor(10.03**2 / 2**0.5).double(), rtol=1e-7)  # at 45 degrees
    cotan.write(tile, tmp_path / "tile.ply", colors=torch.rand(3600, 3))
    igl = pytest.importorskip("igl")
    vertices, faces = igl.read_triangle_mesh(str(tmp_path / "tile.ply"))
    assert torch.equal(torch.from_numpy(vertices), tile.pos)
    assert torch.equal(torch.from_numpy(faces).T, tile.face)


def test_coordinates_beyond_float32_are_refused(tmp_path):
    (tmp_path / "h.obj").write_text("v 0 0 0\nv 1e40 0 0\nv 0 1e40 0\nf 1 2 3\n")
    with pytest.raises(cotan.CotanError, match=r"up to 1e\+40, too large for torch.float32"):
        cotan.read(tmp_path / "h.obj", dtype=torch.float32)
    assert float(cotan.compute(cotan.read(tmp_path / "h.obj"), "face_areas", dtype=torch.float64)) == 5e79


def test_graphs_of_each_kind(tmp_path):
    import networkx
    import scipy.sparse

    g = networkx.karate_club_graph()
    networkx.write_graphml(networkx.Graph(g.edges), tmp_path / "g.graphml")
    networkx.write_edgelist(g, tmp_path / "g.edgelist", data=False)
    networkx.write_edgelist(networkx.Graph(g.edges), tmp_path / "dicts.edgelist")
    scipy.sparse.save_npz(tmp_path / "g.npz", scipy.sparse.csr_matrix(networkx.to_scipy_sparse_array(g, weight=None)))
    for name in ("g.graphml", "g.edgelist", "dicts.edgelist", "g.npz"):
        data = cotan.read(tmp_path / name)
        assert (data.num_nodes, data.edge_index.shape[1]) == (34, 2 * 78)
        assert "edge_weight" not in data
    values = cotan.compute(cotan.read(tmp_path / "g.npz"), "spectrum", k=34, dtype=torch.float64).values
    expected = torch.tensor(networkx.laplacian_spectrum(g, weight=None)).sort().values
    assert torch.allclose(values, expected, atol=1e-9)


def test_numbered_nodes_keep_their_order(tmp_path):
    (tmp_path / "g.edgelist").write_text("10 1\n1 0\n0 2\n")
    assert cotan.read(tmp_path / "g.edgelist").edge_index.tolist() == [[0, 0, 1, 1, 2, 3], [1, 2, 0, 3, 0, 1]]
    for names in ("b 7 7 3", f"0 7 7 {2**63}"):  # of which some are no numbers, or none of int64
        (tmp_path / "g.edgelist").write_text("{} {}\n{} {}\n".format(*names.split()))
        data = cotan.read(tmp_path / "g.edgelist")
        assert (data.edge_index.tolist(), "node_id" in data) == ([[0, 1, 1, 2], [1, 0, 2, 1]], False)


@pytest.mark.parametrize(
    "text",
    [
        "# Nodes: 4\n# From\tTo\n10\t1\r\n1\t2\n\n2\t2\n2\t1\n",  # as SNAP has them
        "% sym unweighted\n% 3 4 4\n10 1\n1 2\n2 2\n2 1\n",  # as KONECT has them
        "10,1\n1,2\n2,2\n2,1\n",
        "10, 1\n1, 2\n2 , 2\n2,1 # twice\n",
    ],
)
def test_edge_lists_with_comments_tabs_and_commas(text, tmp_path):
    path = tmp_path / "g.edgelist"
    path.write_text(text)
    graph = cotan.read(path)
    assert graph.node_id.tolist() == [1, 2, 10]
    assert graph.edge_index.tolist() == [[0, 0, 1, 1, 2], [1, 2, 0, 1, 0]]
    assert cotan.read(path, directed=True).edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n2\n1 2\n", "has the row '2', expected u v in all rows, or u v weight"),
        ("0,1,5,1700000000\n", "has the row '0,1,5,1700000000', expected u v"),
        ("0 1 5\n0 2\n", "has the row '0 2', expected u v"),
        ("0 1\n0 2 5\n", "has the row '0 2 5', expected u v"),
        ("id_1,id_2\n0,1\n1,2\n", "has 'id_1 id_2' above rows of numbers; # before it makes a comment of it"),
        ("source target weight\n0 1 2.5\n", "has 'source target weight' above rows of numbers"),
        ("node node\n0 1\n", "has 'node node' above rows of numbers"),
        ("0 1 {'weight': 2}\n2\n", "has the row '2', expected u v"),
        ("0 1 {'weight': 2}\n1 2 3\n", "has the row '1 2 3', expected u v"),
        ("0;1;0,5\n1;2;0,7\n", "has the row '0;1;0,5', expected u v"),
        ("0 1 2\n1 2 heavy\n", "has the row '1 2 heavy', expected u v"),
    ],
)
def test_rows_that_are_no_edges_are_not_passed_over(text, message, tmp_path):
    (tmp_path / "g.edgelist").write_text(text)
    with pytest.raises(cotan.CotanError, match=f"g.edgelist {message}"):
        cotan.read(tmp_path / "g.edgelist")


@pytest.mark.parametrize(
    "text",
    [
        "Smith,J Doe,K\nDoe,K Roe,A\nRoe,A Smith,J\n",
        "hub rim\nhub 1\nrim 1\n",
        "-1 -2\n1 -1\n",
        "{a} b 2\nb c 2\n",
    ],
)
def test_names_are_any_words(text, tmp_path):
    (tmp_path / "g.edgelist").write_text(text)
    assert cotan.read(tmp_path / "g.edgelist").num_nodes == 3


def test_edge_lists_of_networkx_with_commas(tmp_path):
    import networkx

    graph = networkx.karate_club_graph()
    networkx.set_edge_attributes(graph, "met, once", "note")
    networkx.write_edgelist(graph, tmp_path / "g.edgelist", delimiter=",")
    data = cotan.read(tmp_path / "g.edgelist")
    found = torch.zeros(34, 34).index_put(tuple(data.edge_index), data.edge_weight)
    np.testing.assert_array_equal(found, networkx.to_numpy_array(graph))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("000000.bin", r"read takes no .bin files; .* numpy.fromfile\(path, '<f4'\).reshape\(-1, 4\)"),
        ("cat0.tri", r"read takes no .tri files; numpy.loadtxt\(path, dtype=int\) - 1"),
        ("web.txt.gz", "read takes no .gz files; gunzip unpacks it"),
    ],
)
def test_files_of_others_are_refused_with_what_reads_them(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"1 2 3\n")
    for directed in (False, True):
        with pytest.raises(cotan.CotanError, match=message):
            cotan.read(tmp_path / name, directed=directed)


@pytest.mark.parametrize(("suffix", "rows"), [(".xyz", "0,0,0\n1,0,0\n"), (".edgelist", "0,1\n")])
def test_tables_are_read_by_other_names(suffix, rows, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(rows)
    with pytest.raises(cotan.CotanError, match=f" an {suffix}"):
        cotan.read(path)
    assert cotan.read(path.rename(path.with_suffix(suffix))).num_nodes == 2


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
        f"{tmp_path / 'b.obj'} has 1 degenerate face, 1 flipped face, 1 unreferenced vertex; "
        "read(..., repair=True) mends what can be"
    ]
    assert said[0].filename == __file__
    assert (data.num_nodes, data.face.shape[1]) == (5, 3)


@pytest.mark.parametrize("face", ["f 1 2 9", "f 1 2 3\nf 1 2 9 3", "f 1/1 2/2 9/3"])
def test_a_vertex_that_is_not_there_is_named(face, tmp_path):
    path = tmp_path / "far.obj"
    path.write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\n{face}\n")
    with pytest.raises(
        cotan.CotanError, match=r"far.obj has a face with vertex 9, and 3 vertices; an .obj counts from 1$"
    ):
        cotan.read(path)


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
    with pytest.raises(
        cotan.CotanError, match=r"NaN or infinite coordinates at 1 of 4 vertices; read\(..., repair=True\) drops"
    ):
        cotan.read(tmp_path / "n.obj")
    with pytest.warns(cotan.MeshWarning, match="dropped 1 vertices that are not finite"):
        assert cotan.read(tmp_path / "n.obj", repair=True).num_nodes == 3
    (tmp_path / "n.xyz").write_text("0 0 0\nnan 1 0\n0 1 inf\n0 1 0\n")
    assert cotan.read(tmp_path / "n.xyz", repair=True).pos.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_nothing_left_after_repair_is_one_error(tmp_path):
    (tmp_path / "d.obj").write_text("v 0 0 0\nv 1 0 0\nf 1 2 2\n")
    with pytest.raises(cotan.CotanError, match=r"d.obj: repair: no face is left"):
        cotan.read(tmp_path / "d.obj", repair=True)


def test_the_teapots_seams_are_welded(real_data):
    with pytest.warns(cotan.MeshWarning, match="1 non manifold vertex;"):
        teapot = cotan.read(real_data / "meshes" / "hard" / "teapot.obj")
    assert (teapot.num_nodes, teapot.face.shape[1]) == (3241, 6320)
    assert cotan.compute(teapot, "mesh_report")["duplicate_vertices"] == 0


CORNER = "3 {faces} 0\n0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize("between", ["\n", " "])
@pytest.mark.parametrize("end", ["\n", ""])
def test_lines_of_an_off_file_mean_nothing(between, end, tmp_path):
    text = "OFF 4 2 0 0 0 0 1 0 0 0 1 0 0 0 1 3 0 2 1 3 0 1 3"
    (tmp_path / "a.off").write_text(between.join(text.split()) + end)
    data = cotan.read(tmp_path / "a.off")
    assert data.face.T.tolist() == [[0, 2, 1], [0, 1, 3]]
    assert data.pos.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_off_file_without_its_word(tmp_path):
    (tmp_path / "a.off").write_text(CORNER.format(faces=1) + "3 0 1 2\n")
    assert cotan.read(tmp_path / "a.off").face.T.tolist() == [[0, 1, 2]]
    (tmp_path / "a.off").write_text(CORNER.format(faces=2) + "3 0 1 2\n")
    with pytest.raises(cotan.CotanError, match="ends after 1 of its 2 faces"):
        cotan.read(tmp_path / "a.off")


def test_faces_of_two_corners_are_left_out_and_said(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n" + CORNER.format(faces=3) + "2 0 1\n3 0 1 2\n1 2\n")
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\nf 1 2 3\nf 3\n")
    for name in ("a.off", "a.obj"):
        with pytest.warns(cotan.MeshWarning, match="2 faces of fewer than three corners are left out"):
            assert cotan.read(tmp_path / name).face.T.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("face", ["f 1 2 3", "f -3 -2 -1", "\tf 1 2 3"])
def test_faces_of_an_obj_without_corners_are_left_out_and_said(face, tmp_path):
    (tmp_path / "a.obj").write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nf\n{face} # all\nf\n")
    with pytest.warns(cotan.MeshWarning, match="2 faces of fewer than three corners are left out"):
        assert cotan.read(tmp_path / "a.obj").face.T.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("order", ["le", "be"])
def test_an_obj_in_utf_16(order, tmp_path):
    text = "\ufeff# a corner\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    (tmp_path / "a.obj").write_text(text, f"utf-16-{order}")
    assert cotan.read(tmp_path / "a.obj").face.T.tolist() == [[0, 1, 2]]


def test_a_gml_graph_without_labels(tmp_path):
    (tmp_path / "g.gml").write_text("graph [ node [ id 0 ] node [ id 1 ] edge [ source 0 target 1 ] ]")
    assert cotan.read(tmp_path / "g.gml").edge_index.tolist() == [[0, 1], [1, 0]]


def test_colours_functions_and_labels_reach_the_file(sphere, tmp_path):
    def written(colors):
        cotan.write(sphere, tmp_path / "ball.ply", colors=colors)
        seen = trimesh.load(tmp_path / "ball.ply", process=False).visual.vertex_colors[:, :3]
        return torch.from_numpy(np.array(seen)).float() / 255

    colors, height = torch.rand(sphere.num_nodes, 3), sphere.pos[:, 2]
    assert torch.allclose(written(colors), colors, atol=0.003)
    assert torch.equal(written(colors.numpy()), written(colors))
    red, _, blue = written(height).unbind(1)
    assert (red > blue)[height > 0.1].all()
    assert (red < blue)[height < -0.1].all()
    spike = torch.where(torch.arange(len(height)) == 0, 1e6, height)
    assert torch.equal(written(spike)[1:].argmax(1), written(height)[1:].argmax(1))  # one vertex does not pale the rest
    few = torch.where(torch.arange(len(height)) < 20, height + 2, 0)  # zeros around it leave a function its colours
    assert torch.equal(diverging(few)[:20], diverging(few[:20]))
    assert len(written((height > 0).long() + 2).unique(dim=0)) == 2
    hole = written(torch.where(height > 0.5, torch.inf, height))
    assert hole[height > 0.5].unique().tolist() == pytest.approx([0.5], abs=0.003)  # grey, which is no pale blue
    graph = cotan.compute(sphere, "edge_index")
    for refused in (cotan.write, lambda *a: cotan.draw(*a, graph[0])):
        with pytest.raises(cotan.CotanError, match=r"shape with pos to \w+; it has: edge_index; places = .*layout"):
            refused(Data(edge_index=graph), tmp_path / "graph.ply")
        with pytest.raises(cotan.CotanError, match=r"pos is \(642, 2\), .*; torch.nn.functional.pad\(pos, \(0, 1\)\)"):
            refused(Data(pos=sphere.pos[:, :2]), tmp_path / "graph.ply")
    for bad in (torch.ones(5, 3), torch.ones(len(height), 2), (colors * 255).to(torch.uint8)):
        with pytest.raises(cotan.CotanError, match=r"colours are .*, expected \(642, 3\) from 0 to 1, or a function"):
            written(bad)
    for bad, got in ((colors * 255, r"\S+ to 25"), (-colors, "-.* to -"), (colors * torch.nan, "nan to nan")):
        with pytest.raises(cotan.CotanError, match=f"^colours are from 0 to 1, got {got}"):
            written(bad)
    assert torch.equal(written(colors.round() * 1.002 - 0.001), written(colors.round()))  # less than a byte outside


def test_a_graph_that_is_laid_out_as_its_refusal_says_is_drawn():
    import torch_geometric

    graph = Data(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
    with pytest.raises(cotan.CotanError, match="spring_layout") as caught:
        cotan.draw(graph, None, torch.rand(3))
    lines = str(caught.value).split("; ")[-1].removesuffix(" lay a graph out")
    exec(
        lines.replace(" and ", "\n"),
        {"graph": graph, "torch": torch, "networkx": networkx, "torch_geometric": torch_geometric},
    )
    cotan.draw(graph, None, torch.rand(3))


def test_what_is_no_file_and_no_shape_is_told_what_makes_one(tmp_path):
    import networkx
    import trimesh
    from torch_geometric.data import HeteroData

    mesh, graph, several = trimesh.creation.box(), networkx.path_graph(3), HeteroData()
    several["a"].x = torch.ones(3, 2)
    for thing in (mesh, graph, (mesh.vertices, mesh.faces)):
        with pytest.raises(
            cotan.CotanError, match=f"read takes a file, got a {type(thing).__name__}: Data.*from_trimesh"
        ):
            cotan.read(thing)
    for thing, hint in ((mesh, "from_trimesh"), (graph, "from_networkx"), (several, "to_homogeneous"), ([], "read")):
        text = rf"expected a torch_geometric Data, got {type(thing).__name__}; .*{hint}"
        for use in (lambda x: cotan.compute(x, "mass"), lambda x: cotan.draw(x, tmp_path / "a.png", torch.ones(3))):
            with pytest.raises(cotan.CotanError, match=text):
                use(thing)
    linear = cotan.create_model("linear", 2, 2)
    for use in (
        lambda: cotan.apply(linear, several),
        lambda: cotan.prepare(linear, several),
        lambda: cotan.prepare(linear, [several]),
        lambda: cotan.fit("linear", several),
        lambda: cotan.fit("linear", cotan.Splits([several])),
    ):
        with pytest.raises(cotan.CotanError, match=r"HeteroData.*; its to_homogeneous\(\) gives one"):
            use()


MARKET = "%%MatrixMarket matrix {}\n"


@pytest.mark.parametrize(
    ("head", "lines", "edges", "weights"),
    [  # numbers start at one; a symmetric file holds one of two entries
        ("coordinate pattern symmetric", "4 4 2\n2 1\n4 4", [[0, 1], [1, 0], [3, 3]], None),
        ("coordinate real general", "% of 2,5 mm\n4 4 2\n2 1 0.5\n1 4 3E+0", [[0, 3], [1, 0]], [3, 0.5]),
        ("coordinate real general", " % of 2,5 mm\n4 4 2\n2 1 0.5 % 2,5\n1 4 3", [[0, 3], [1, 0]], [3, 0.5]),
        ("coordinate integer symmetric", "4 4 1\n3 1 7", [[0, 2], [2, 0]], [7, 7]),
        ("coordinate real general", "4 4 0", [], None),
        ("array real general", "2 2\n0\n0\n5\n0", [[0, 1]], [5]),
    ],
)
def test_a_matrix_market_file_is_a_graph(head, lines, edges, weights, tmp_path):
    (tmp_path / "g.mtx").write_text(MARKET.format(head) + lines + "\n")
    data = cotan.read(tmp_path / "g.mtx")
    found = data.edge_index.T.tolist()
    assert sorted(found) == edges
    assert data.num_nodes == (2 if "array" in head else 4)
    if weights is None:
        assert "edge_weight" not in data
    else:
        assert data.edge_weight.dtype == torch.float32
        assert [data.edge_weight[found.index(edge)].item() for edge in edges] == weights


@pytest.mark.parametrize(
    ("head", "lines", "message"),
    [
        ("coordinate complex hermitian", "3 3 1\n2 1 5 1", "has complex weights, expected real numbers"),
        ("coordinate real general", "3 2 1\n2 1 5", "holds a 3 x 2 matrix; a graph's is square"),
        ("coordinate real general", "0 0 0", "has no nodes"),
        ("coordinate real general", "3 3 1\n2 1 nan", "has weights that are NaN, infinite or too large for float32"),
        ("coordinate real general", "3 3 1\n2 1 1e300", "has weights that are NaN, infinite or too large for float32"),
        ("coordinate real general", "3 3 1\n4 1 1", "cannot be read as a graph: ValueError: Line 3"),
        ("coordinate real general", "3 3 1\n2 1 2,5", ".* '2 1 2,5' has what is no such number"),
        ("coordinate real general", "3 3 1\n2 1 1.5D-3", ".* '2 1 1.5D-3' has what is no such number"),
        ("coordinate integer general", "3 3 1\n2 1 2.5", ".* '2 1 2.5' has what is no such number"),
    ],
)
def test_a_matrix_that_is_no_graph_is_refused(head, lines, message, tmp_path):
    (tmp_path / "g.mtx").write_text(MARKET.format(head) + lines + "\n")
    with pytest.raises(cotan.CotanError, match=f"g.mtx {message}"):
        cotan.read(tmp_path / "g.mtx")


def test_sparse_matrices_of_each_kind_of_number(tmp_path):
    import scipy.sparse

    def there_and_back(values, *index, **shape):
        scipy.sparse.save_npz(tmp_path / "g.npz", scipy.sparse.coo_array((values, index), **shape))
        return cotan.read(tmp_path / "g.npz")

    for kind in (bool, "u8", "f4", np.longdouble):
        data = there_and_back(np.array([1, 1], kind), [0, 1], [1, 0], shape=(3, 3))
        assert (data.edge_index.tolist(), data.num_nodes) == ([[0, 1], [1, 0]], 3)
        assert "edge_weight" not in data
    with pytest.raises(cotan.CotanError, match="complex weights"):
        there_and_back([1j], [0], [1], shape=(3, 3))
    with pytest.raises(cotan.CotanError, match=r"holds a 3 matrix; a graph's is square|expected 1"):
        there_and_back([1.0], [1], shape=(3,))


def test_weights_of_named_nodes(tmp_path):
    import networkx

    g = networkx.DiGraph()
    g.add_edge("b", "a", weight=3.5)
    g.add_node("c")
    networkx.write_graphml(g, tmp_path / "g.graphml")
    data = cotan.read(tmp_path / "g.graphml")
    assert (data.edge_index.tolist(), data.edge_weight.tolist(), data.num_nodes) == ([[0], [1]], [3.5], 3)
    g["b"]["a"]["weight"] = "heavy"
    networkx.write_gml(g, tmp_path / "g.gml")
    (tmp_path / "g.edgelist").write_text("# no edges\n")
    (tmp_path / "d.mtx").mkdir()
    for name, message in {"g.gml": "could not convert", "g.edgelist": "has no nodes", "d.mtx": "is a folder"}.items():
        with pytest.raises(cotan.CotanError, match=message):
            cotan.read(tmp_path / name)


@pytest.mark.parametrize("more", ["", " 9", " # nine"])
def test_an_off_file_of_triangles_is_read_as_with_colours(tmp_path, sphere, more):
    lines = [f"{x!r} {y!r} {z!r}" for x, y, z in sphere.pos.double().tolist()]
    lines += [f"3 {a}  {b} {c}{more}" for a, b, c in sphere.face.T.tolist()]
    path = tmp_path / "a.off"
    path.write_text(f"OFF # by hand\n{sphere.num_nodes} {sphere.face.shape[1]} 0\n\n" + "\n".join(lines))
    found = cotan.read(path, dtype=torch.float64)
    assert torch.equal(found.pos, sphere.pos.double())
    assert torch.equal(found.face, sphere.face)


@pytest.mark.parametrize("end", ["O", "e", "_"])
def test_an_off_file_does_not_end_within_a_number(end, tmp_path, monkeypatch):
    """numpy before 2.3 gives what was before, with a warning that may be off."""
    monkeypatch.setattr(np, "fromstring", lambda text, sep: np.array(text.rstrip("Oe_\n").split(), dtype=float))
    (tmp_path / "a.off").write_text(f"OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n1 1 1\n3 0 1 2\n3 3 2 1{end}\n")
    with pytest.raises(cotan.CotanError, match="invalid literal for int"):
        cotan.read(tmp_path / "a.off")


def test_an_attribute_color_of_another_meaning_is_no_colour(tmp_path, sphere):
    plain = tmp_path / "plain.ply"
    cotan.write(sphere, plain)
    for color in ("red", torch.ones(len(sphere.pos), 4), torch.full((len(sphere.pos), 3), 7.0)):
        shape = sphere.clone()
        shape.color = color
        cotan.write(shape, tmp_path / "other.ply")
        assert (tmp_path / "other.ply").read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("name", ["a.xyz", "a.txt", "a.pts", "a.npy", "commas.xyz", "counted.pts"])
def test_rows_of_points_keep_colours_and_normals_apart(name, tmp_path):
    draw = np.random.default_rng(0)
    pos, tilt = draw.random((50, 3)), draw.normal(size=(50, 3))
    normal = tilt / np.linalg.norm(tilt, axis=1, keepdims=True)
    color = np.vstack([[[0, 0, 255]], draw.integers(0, 256, (49, 3))])
    for more, kept in (
        (normal, "normal"),
        (normal.round(2), "normal"),
        (1.05 * normal, None),
        (color, "color"),
        (color / 2, None),
        (color + 1, None),
        (color - 1, None),
        (tilt, None),
        (pos[:, :0], None),
    ):
        rows = np.hstack([pos, more])
        if name == "a.npy":
            np.save(tmp_path / name, rows)
        else:
            head = "50" if name == "counted.pts" else ""
            delimiter = ", " if name == "commas.xyz" else " "
            np.savetxt(tmp_path / name, rows, header=head, comments="" if head else "#", delimiter=delimiter)
        with (
            pytest.warns(cotan.MeshWarning, match="columns 4 to 6 left out")
            if more.size and not kept
            else nullcontext()
        ):
            data = cotan.read(tmp_path / name, dtype=torch.float64)
        assert set(data.keys()) == {"pos", *([kept] if kept else [])}
        np.testing.assert_array_equal(data.pos, pos)
        if kept:
            np.testing.assert_allclose(data[kept], more if kept == "normal" else color / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n1 2\n", r"holds numbers of shape \(2, 2\), expected rows of x y z"),
        ("3\n0 0 0\n1 1 1\n", "states 3 points and has 2; is it a whole file"),
        ("C 0 0 0\nC 1 1 1\n", "cannot be read as points, rows of x y z"),
        ("2\n\nO 0 0 0\nH 1 1 1\n", r"names, as of atoms; numpy.loadtxt\(path, skiprows=2, max_rows=N, usecols"),
        ("2\ngdb 1\t-0.3\nC 0 0 0 -.5\nH 1 1 1 .5\n9.5\nC\tC\nInChI=1S\n", "names, as of atoms"),
        ("0 1\n1 2\n", r"of shape \(2, 2\), expected rows of x y z, .*; rows of edges, u v, are an .edgelist"),
        ("0 0 0\n1 1\n", "cannot be read as points, rows of x y z"),
        ("# nothing\n", "has no points"),
    ],
)
def test_rows_that_are_no_points_are_refused(text, message, tmp_path):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(cotan.CotanError, match=message):
        cotan.read(tmp_path / "a.xyz")


@pytest.mark.skipif(sys.platform == "win32", reason="other limits and words")
def test_what_the_system_refuses_is_said_with_the_files_name(tmp_path, sphere):
    loop, long, under = tmp_path / "loop.off", tmp_path / f"{'z' * 300}.off", tmp_path / "file/s.off"
    loop.symlink_to(loop)
    under.parent.touch()
    for path, reason in ((loop, "Too many levels of symbolic links"), (long, "File name too long")):
        with pytest.raises(cotan.CotanError, match=f"{path} cannot be read: {reason}"):
            cotan.read(path)
    for path, reason in ((under, "Not a directory"), (long, "File name too long")):
        with pytest.raises(cotan.CotanError, match=f"{path} cannot be written: {reason}"):
            cotan.write(sphere, path)
        with pytest.raises(cotan.CotanError, match=f"cannot be written: {reason}"):
            cotan.draw(sphere, path.with_suffix(".png"), sphere.pos[:, 0])
        with pytest.raises(cotan.CotanError, match=f"{path} cannot be written: {reason}"):
            cotan.fit("linear", SPLITS, out=path, progress="none", device="cpu")
    with pytest.raises(cotan.CotanError, match=r"no file .*off"):
        cotan.read(str(tmp_path / "a\0.off"))
    with pytest.raises(cotan.CotanError, match="no run folder"):
        cotan.Run.load(long)
    with pytest.raises(cotan.CotanError, match="unknown suite"):
        cotan.bench("z" * 300)


SPLITS = cotan.Splits(*([Data(pos=torch.rand(4, 3), y=torch.tensor([i % 2])) for i in range(4)] for _ in range(3)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.edgelist", "0 1\n1 2\n2 0\n"),
        ("weights.edgelist", "0 1 2.5\n1 2 3\n2 0 1\n"),
        ("a.gml", 'graph [\n node [ id 0 label "é" ]\n node [ id 1 ]\n edge [ source 0 target 1 ]\n]\n'),
        ("a.mtx", "%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n2 1 2.5\n"),
        ("a.xyz", "0 0 0\n1 1 1\n"),
        ("a.off", "COFF 3 1 0\n0 0 0 255 0 0\n1 0 0 0 255 0\n0 1 0 0 0 255\n3 0 1 2\n"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* left out")
def test_windows_marks_and_line_ends_change_nothing(name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text, "utf-8", newline="\n")
    plain = cotan.read(path)
    path.write_text(text, "utf-8-sig", newline="\r\n")
    marked = cotan.read(path)
    assert plain.to_dict().keys() == marked.to_dict().keys()
    assert all(torch.equal(torch.as_tensor(plain[key]), torch.as_tensor(marked[key])) for key in plain.keys())


def test_a_file_with_a_byte_order_mark_that_was_cut_short_is_refused(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "utf-8-sig")
    with pytest.raises(cotan.CotanError, match="ends after 1 of its 2 faces"):
        cotan.read(tmp_path / "a.off")


def test_a_seventh_column_is_left_out_and_said(tmp_path):
    (tmp_path / "a.txt").write_text("0 0 0 255 0 0 3\n1 1 1 0 255 0 4\n")
    with pytest.warns(cotan.MeshWarning, match="column 7 left out$"):
        assert cotan.read(tmp_path / "a.txt").color.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_a_scanners_pts_has_an_intensity_before_its_colours(tmp_path):
    (tmp_path / "a.pts").write_text("2\n0 0 0 55 255 0 0\n1 1 1 -12 0 255 0\n")
    with pytest.warns(cotan.MeshWarning, match="column 4 left out$"):
        assert cotan.read(tmp_path / "a.pts").color.tolist() == [[1, 0, 0], [0, 1, 0]]
    (tmp_path / "nine.pts").write_text("0 0 0 255 0 0 0 0 1\n1 1 1 0 255 0 0 0 1\n")
    with pytest.warns(cotan.MeshWarning, match="columns 7 to 9 left out$"):
        assert cotan.read(tmp_path / "nine.pts").color.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_one_row_is_a_point(tmp_path):
    (tmp_path / "a.xyz").write_text("0 1 2\n")
    assert cotan.read(tmp_path / "a.xyz").pos.tolist() == [[0, 1, 2]]


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3), object))
    with pytest.raises(cotan.CotanError, match="Object arrays cannot be loaded"):
        cotan.read(tmp_path / "a.npy")


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_what_else_a_ply_says_of_points_is_left_out_and_said(encoding, tmp_path):
    rows = np.hstack([np.eye(3, dtype="<f4"), np.ones((3, 1), "<f4")])
    head = f"ply\nformat {'ascii' if encoding == 'ascii' else 'binary_little_endian'} 1.0\nelement vertex 3\n"
    head += "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity")) + "end_header\n"
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist())
    (tmp_path / "a.ply").write_bytes(head.encode() + (text.encode() if encoding == "ascii" else rows.tobytes()))
    with pytest.warns(cotan.MeshWarning, match="a.ply: intensity left out$"):
        assert [*cotan.read(tmp_path / "a.ply").keys()] == ["pos"]


def test_what_else_a_ply_says_of_the_vertices_of_a_mesh_is_left_out_and_said(tmp_path):
    mesh = trimesh.creation.box()
    mesh.vertex_attributes.update(quality=np.ones(8, "f4"), texture_u=np.ones(8, "f4"))  # that textures are is known
    mesh.export(tmp_path / "a.ply")
    with pytest.warns(cotan.MeshWarning, match="a.ply: quality left out$"):
        assert {*cotan.read(tmp_path / "a.ply").keys()} == {"pos", "face"}


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_normals_of_the_points_of_a_ply(encoding, tmp_path):
    rows = np.random.default_rng(0).normal(size=(7, 6)).astype("<f4")
    head = f"ply\nformat {'ascii' if encoding == 'ascii' else 'binary_little_endian'} 1.0\nelement vertex 7\n"
    head += "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz")) + "end_header\n"
    text = "".join(" ".join(map(repr, map(float, row))) + "\n" for row in rows)
    (tmp_path / "a.ply").write_bytes(head.encode() + (text.encode() if encoding == "ascii" else rows.tobytes()))
    data = cotan.read(tmp_path / "a.ply")
    np.testing.assert_array_equal(np.hstack([data.pos, data.normal]), rows)
    assert data.normal.dtype == torch.float32


@pytest.mark.parametrize("colors", [None, torch.rand(7, 3)])
def test_points_keep_their_normals_in_a_ply(colors, tmp_path):
    cloud = Data(pos=torch.rand(7, 3), normal=torch.randn(7, 3))
    cotan.write(cloud, tmp_path / "a.ply", colors=colors)
    back = cotan.read(tmp_path / "a.ply")
    assert torch.equal(back.pos, cloud.pos)
    assert torch.equal(back.normal, cloud.normal)
    cloud.face = torch.tensor([[0], [1], [2]])
    cotan.write(cloud, tmp_path / "mesh.ply")
    assert b"property float nx" not in (tmp_path / "mesh.ply").read_bytes()
    assert ("color" in back) == (colors is not None)


def test_a_weighted_edge_list_is_read_in_both_directions_or_as_it_is(tmp_path):
    import networkx

    g = networkx.DiGraph()
    g.add_weighted_edges_from([(30, 10, 2.0), (10, 20, 3.0), (20, 30, 0.5), (20, 40, 1.0)])
    networkx.write_weighted_edgelist(g, tmp_path / "rows.edgelist")
    networkx.write_edgelist(g, tmp_path / "dicts.edgelist")
    for name, (directed, kind) in itertools.product(("rows", "dicts"), enumerate((networkx.Graph, networkx.DiGraph))):
        data = cotan.read(tmp_path / f"{name}.edgelist", directed=bool(directed))
        assert data.node_id.tolist() == [10, 20, 30, 40]
        found = torch.zeros(4, 4).index_put(tuple(data.edge_index), data.edge_weight)
        np.testing.assert_array_equal(found, networkx.to_numpy_array(kind(g), [10, 20, 30, 40]))
    networkx.write_graphml(g, tmp_path / "g.graphml")
    with pytest.raises(cotan.CotanError, match=r"directed=True is for an .edgelist"):
        cotan.read(tmp_path / "g.graphml", directed=True)


def test_an_edge_list_does_not_choose_among_the_weights_of_an_edge(tmp_path):
    path = tmp_path / "synapses.edgelist"
    path.write_text("0 1 3\n1 0 5\n1 2 1\n2 1 1\n")
    with pytest.raises(cotan.CotanError, match=r"weights 3 and 5 of one edge, 1 0, expected one; directed=True takes"):
        cotan.read(path)
    path.write_text("0 1 {'weight': 3}\n1 0 {'weight': 5}\n")
    with pytest.raises(cotan.CotanError, match=r"weights 3 and 5 of one edge, 1 0"):
        cotan.read(path)
    path.write_text("0 1 3\n1 0 5\n1 2 1\n2 1 1\n")
    graph = cotan.read(path, directed=True)
    assert torch.zeros(3, 3).index_put(tuple(graph.edge_index), graph.edge_weight).tolist() == [
        [0, 3, 0],
        [5, 0, 1],
        [0, 1, 0],
    ]
    path.write_text("0 1 0.1\n1 0 0.10000000149\n")  # as doubles and float32 have it
    assert cotan.read(path).edge_weight.tolist() == pytest.approx([0.1, 0.1])
    path.write_text("0 1 0.1\n1 0 0.100001\n")
    with pytest.raises(cotan.CotanError, match=r"weights 0.1 and 0.100001 of one edge"):
        cotan.read(path)
    path.write_text("0 1 nan\n1 0 3\n")
    with pytest.raises(cotan.CotanError, match=r"weights nan and 3 of one edge"):
        cotan.read(path)
    path.write_text("0 1 3\n0 1 1700000000\n")  # times, say
    with pytest.raises(cotan.CotanError, match=r"weights 3 and 1.7e\+09 of one edge, 0 1, expected one$"):
        cotan.read(path, directed=True)


@pytest.mark.parametrize("kind", ["gml", "graphml"])
def test_attributes_of_a_graph_that_are_left_out_are_named(kind, tmp_path):
    import networkx

    g = networkx.path_graph(3)
    networkx.set_edge_attributes(g, 2.0, "weight")
    write, path = getattr(networkx, f"write_{kind}"), tmp_path / f"g.{kind}"
    write(g, path)
    assert "node_id" not in cotan.read(path)  # and no warning, which would be an error
    networkx.set_node_attributes(g, 1.5, "height")
    networkx.set_node_attributes(g, 1, "club")
    networkx.set_edge_attributes(g, 7, "year")
    write(g, path)
    with pytest.warns(cotan.MeshWarning, match="club, height of nodes and year of edges left out; .*from_networkx"):
        assert cotan.read(path).edge_weight.tolist() == [2.0] * 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
@pytest.mark.parametrize("suffix", [".off", ".obj", ".xyz", ".npz", ".gltf"])
def test_pipes_and_devices_are_refused_rather_than_waited_for(suffix, tmp_path):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"endless{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(cotan.CotanError, match=f"{name}{suffix} is a pipe or a device"):
            cotan.read(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize(
    "buffer", ["../secret.bin", "{}/secret.bin", "file://{}/secret.bin", "%2e%2e/secret.bin", "link.bin", "pipe.bin"]
)
def test_a_gltf_reads_no_file_but_those_of_its_folder(buffer, tmp_path):
    folder = tmp_path / "upload"
    folder.mkdir()
    ball = trimesh.creation.icosphere(0).export(file_type="gltf")
    for name, content in ball.items():
        (folder / name).write_bytes(content)
    assert cotan.read(folder / "model.gltf").num_nodes == 12
    model = json.loads((folder / "model.gltf").read_text())
    shutil.copy(folder / model["buffers"][0]["uri"], folder / "a b.bin")
    (folder / "spaced.gltf").write_text(
        json.dumps(model | {"buffers": [model["buffers"][0] | {"uri": "a%20b.bin"}, *model["buffers"][1:]]})
    )
    assert cotan.read(folder / "spaced.gltf").num_nodes == 12
    (tmp_path / "secret.bin").write_bytes((folder / model["buffers"][0]["uri"]).read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.bin")
    model["buffers"][0]["uri"] = buffer.format(tmp_path)
    (folder / "model.gltf").write_text(json.dumps(model))
    with pytest.raises(cotan.CotanError, match=r"model.gltf names '.*', expected a file in its folder"):
        cotan.read(folder / "model.gltf")


@pytest.mark.parametrize("suffix", [".npz", ".3mf"])
def test_a_zipped_file_that_unpacks_to_a_thousand_times_its_size_is_refused(suffix, tmp_path, monkeypatch):
    pytest.importorskip("lxml")
    monkeypatch.setattr("cotan.files.UNPACKED", (2**16, 100))
    monkeypatch.setattr("cotan.files.ARRAYS", 2**16)
    with zipfile.ZipFile(tmp_path / f"a{suffix}", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(2**20))
    with pytest.raises(cotan.CotanError, match="bytes and unpacks to 1048576, expected at most 100 times as many"):
        cotan.read(tmp_path / f"a{suffix}")


def test_a_matrix_of_ones_is_read_however_well_it_packs(tmp_path, monkeypatch):
    monkeypatch.setattr("cotan.files.UNPACKED", (2**16, 100))
    save_npz(tmp_path / "a.npz", csr_array(np.ones((600, 600))))  # a hundredth of which is more than the file
    assert (tmp_path / "a.npz").stat().st_size < 600**2 * 12 / 100
    assert cotan.read(tmp_path / "a.npz").num_edges == 600**2


def test_a_matrix_of_weights_is_no_list_of_points_and_says_how_it_is_a_graph(tmp_path):
    weights = np.triu(np.arange(144.0).reshape(12, 12), 1)
    np.save(tmp_path / "a.npy", weights)
    np.savetxt(tmp_path / "a.txt", weights)
    np.savez(tmp_path / "a.npz", weights=weights)
    for name, what in (("a.npy", "a square matrix"), ("a.txt", "a square matrix"), ("a.npz", "weights, and no sparse")):
        with pytest.raises(cotan.CotanError, match=rf"{name} holds {what}.* Of a matrix A .*dense_to_sparse"):
            cotan.read(tmp_path / name)
    edge_index, weight = dense_to_sparse(torch.from_numpy(weights))
    graph = Data(edge_index=edge_index, edge_weight=weight, num_nodes=12)
    expected = networkx.laplacian_matrix(networkx.from_numpy_array((weights + weights.T) / 2)).toarray()
    np.testing.assert_allclose(cotan.compute(graph, "laplacian").to_dense(), expected)
    for small in (weights[:5, :5], np.ones((6, 6))):
        np.save(tmp_path / "a.npy", small)
        with pytest.raises(cotan.CotanError, match="a square matrix"):
            cotan.read(tmp_path / "a.npy")
    np.savetxt(
        tmp_path / "a.xyz", np.eye(4, k=-1)
    )  # corners of a tetrahedron, with a label: no matrix is in such a file
    with pytest.warns(cotan.MeshWarning, match="column 4 left out"):
        assert cotan.read(tmp_path / "a.xyz").pos.shape == (4, 3)
    np.save(tmp_path / "a.npy", np.arange(36.0).reshape(6, 6))
    assert cotan.read(tmp_path / "a.npy").pos.shape == (6, 3)


@pytest.mark.parametrize("kind", [b"csr", b"csc"])
@pytest.mark.parametrize(
    ("part", "wrong", "said"),
    [
        ("indptr", [0, 10**6, 2, 2], "must (be|form) a non-decreasing"),
        ("indices", [0, 4 * 10**9], "must be < 3"),
        ("indices", [0, -7], "must be >= 0"),
    ],
)
def test_a_matrix_whose_pointers_lead_out_of_it_is_refused(kind, part, wrong, said, tmp_path):
    parts = {"format": kind, "shape": [3, 3], "data": [1.0, 1.0], "indices": [1, 0], "indptr": [0, 1, 2, 2]}
    np.savez(tmp_path / "a.npz", **parts)
    assert sorted(cotan.read(tmp_path / "a.npz").edge_index.T.tolist()) == [[0, 1], [1, 0]]
    np.savez(tmp_path / "a.npz", **{**parts, part: wrong})
    with pytest.raises(cotan.CotanError, match=said):
        cotan.read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.off", f"OFF\n{'9' * 5000} 4 0\n0 0 0\n"),
        ("a.obj", f"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 {'9' * 5000}\n"),
        ("a.xyz", f"{'9' * 5000}\n0 0 0\n"),
        ("a.edgelist", f"{'9' * 5000} 1\n"),
        (
            "a.graphml",
            f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph><node id="{"9" * 5000}"/></graph></graphml>',
        ),
        ("a.gml", f"graph [ node [ id {'9' * 5000} ] ]"),
        ("a.npy", npy((10**17, 3))),
        ("a.mtx", f"%%MatrixMarket matrix coordinate real general\n{10**17} {10**17} {10**17}\n1 1 1\n"),
        ("a.gml", f"graph [ {'a [ ' * 2000}"),
    ],
)
def test_sizes_and_numbers_beyond_all_measure_are_one_clear_error(name, content, tmp_path):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(cotan.CotanError, match=f"{name} cannot be read"):
        cotan.read(tmp_path / name)


@pytest.mark.parametrize("end", [b"1 2 1 7", b"1 2 1\xd3", b"1 2 1\0\0 1\n", b"1 2 1\r2 2 1"])
def test_a_matrix_with_more_than_numbers_in_its_last_line_ends_no_process(end, tmp_path):
    (tmp_path / "a.mtx").write_bytes(b"%%MatrixMarket matrix coordinate real general\n3 3 1\n" + end)
    with suppress(cotan.CotanError):  # scipy passes over what stands behind a number
        assert cotan.read(tmp_path / "a.mtx").edge_index.tolist() == [[0], [1]]


def ply(kind: str, *rows, count="uchar", lengths=None) -> bytes:
    """Five vertices, and faces in rows; of lengths, what the file says of these. Between them what no mesh is made of."""
    head = f"ply\nformat {kind} 1.0\nelement vertex 5\nproperty float x\nproperty double y\nproperty float z\n"
    head += "element camera 1\nproperty uchar x\nelement patch 1\nproperty list uchar uchar vertex_indices\n"
    name = "vertex_indices" if count == "uchar" else "vertex_index"
    head += (
        f"element face {len(rows)}\nproperty list uchar uchar texcoord\nproperty list {count} int {name}\nend_header\n"
    )
    more = [7], [3, 0, 1, 4]
    pos, lengths = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 2, 0)], lengths or [len(row) for row in rows]
    if kind == "ascii":
        lines = [*pos, *more, *((3, 0, 1, 4, size, *row) for size, row in zip(lengths, rows))]
        return (head + "".join(" ".join(map(str, line)) + "\n" for line in lines)).encode()
    order = "<" if "little" in kind else ">"
    body = b"".join(struct.pack(f"{order}fdf", *p) for p in pos) + bytes(itertools.chain(*more))
    for size, row in zip(lengths, rows):
        body += struct.pack(f"{order}4B{'B' if count == 'uchar' else 'I'}{len(row)}i", 3, 0, 1, 4, size, *row)
    return head.encode() + body


@pytest.mark.parametrize("count", ["uchar", "uint"])
@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_polygons_of_a_ply_and_their_numbers_beyond_its_end(kind, count, tmp_path):
    rows = [0, 1, 2, 3], [1, 4, 2]
    (tmp_path / "a.ply").write_bytes(ply(kind, *rows, count=count))
    found = cotan.read(tmp_path / "a.ply")
    assert found.pos[4].tolist() == [2, 2, 0]
    assert sorted(map(sorted, found.face.T.tolist())) == [[0, 1, 2], [0, 2, 3], [1, 2, 4]]
    whole, beyond = ply(kind, *rows, count=count), ply(kind, *rows, count=count, lengths=[4, 250])
    wrong = [whole[:-2], whole.replace(b"face 2", b"face 4000000000")]
    for content in wrong if kind == "ascii" else [*wrong, beyond]:  # of a text trimesh takes what is in the line
        (tmp_path / "a.ply").write_bytes(content)
        with pytest.raises(cotan.CotanError, match=r"a.ply"):
            cotan.read(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comments.off", "OFF\n" + "# \n" * 30_000),
        ("lines.off", "\n" * 300_000),
        ("digits.off", "OFF\n4 " + "9" * 300_000),
        ("spaces.off", " \n" * 30_000 + "x"),
        ("elements.ply", "ply\nformat ascii 1.0\n" + "element vertex 1\n" * 10_000 + "element face 1\n" * 10_000),
    ],
)
def test_no_text_makes_the_reader_look_again_and_again(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    begin = time.process_time()
    with pytest.raises(cotan.CotanError):
        cotan.read(tmp_path / name)
    assert time.process_time() - begin < 2  # it was minutes, and more than a life for the first


def test_names_and_words_of_files_steer_no_terminal(tmp_path):
    path = tmp_path / "a\x1b]0;owned\x07\x9b31m.off"
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 \x1b[2J\n3 0 1 2\n")
    with pytest.raises(cotan.CotanError, match=r"a\\x1b\]0;owned\\x07\\x9b31m.off cannot be read") as raised:
        cotan.read(path)
    assert str(raised.value).isprintable()
    path.write_text("OFF\n3 1 0\n0 0 0\n0 0 0\n0 1 0\n3 0 1 2\n")
    with pytest.warns(cotan.MeshWarning) as warned:
        cotan.read(path)
    assert str(warned[0].message).isprintable()
