"""Files to `Data` and back: meshes by trimesh, graphs by networkx and scipy."""

from __future__ import annotations

import codecs
import os
import re
import warnings
import zipfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import atomic
from .data import check_points
from .edgelist_file import load_edgelist
from .errors import CotanError, MeshWarning, expect, one_of
from .mesh_file import load
from .points_file import OF_MATRIX, POINTS, load_points
from .sparse import check_range, first_alike

MESHES = (".off", ".obj", ".ply", ".stl", ".glb", ".gltf", ".3mf", ".3dxml", ".dae", ".zae")
COLORED = (".off", ".obj", ".ply", ".glb")
WRITES = (*COLORED, ".stl")
MOVED = 1e-3  # of the way between vertices, from which what rounding does to a shape is too much
GRAPHS = (".graphml", ".gml", ".edgelist", ".npz", ".mtx")
ZIPPED = (".3mf", ".3dxml", ".zae", ".npz")
UNPACKED = 2**26, 100  # bytes, or times its own size, to which a zipped file may unpack
ELSEWHERE = {  # kinds of files that others read in a line
    ".gz": "gunzip unpacks it",
    ".zip": "unzip unpacks it",
    ".bin": "rows x y z intensity of a laser are numpy.fromfile(path, '<f4').reshape(-1, 4)",
    ".csv": "rows x y z without a header are read as an .xyz, rows of edges, u v, as an .edgelist",
    ".mat": "scipy.io.loadmat(path) reads it; vertices count from 1 there",
    ".vert": "numpy.loadtxt(path) reads it",
    ".tri": "numpy.loadtxt(path, dtype=int) - 1 reads it, as vertices count from 1 there",
    ".gexf": "torch_geometric.utils.from_networkx(networkx.read_gexf(path)) reads it",
}
ARRAYS = 2**29  # bytes to which an .npz may, whose numbers are as large in memory; XML is ten times as large there


def read(
    path: str | os.PathLike[str],
    *,
    weld: bool = True,
    repair: bool = False,
    dtype: torch.dtype | None = None,
    directed: bool = False,
) -> Any:
    """A mesh or a graph from a file, as `torch_geometric.data.Data`.

    Arguments:
        path: a mesh or points (.off .obj .ply .stl .glb .gltf; .3mf .3dxml .dae .zae with `cotan[formats]`), rows of
            points (.xyz .pts .txt .npy), or a graph (.graphml .gml .edgelist, sparse matrices .npz .mtx). Of a scene, all
            meshes; if it has none, all points.
        weld: merge vertices, or points, at the same place, as seams of texture and normals leave them; the first one's
            colour and normal stay. An .stl is always welded: it holds no vertices, but the corners of each face anew.
        repair: mend a mesh as `cotan.operators.repair` does: merge, drop and turn. A `cotan.MeshWarning` says what was
            done; without it, one says what is wrong.
        dtype: of `pos`. By default float32, or float64 where float32 would move vertices by a thousandth of the way between
            them, as it does metres of UTM. `torch.float64` keeps the file's digits.
        directed: whether an .edgelist, rows u v or u v weight with spaces or commas, has edges in one direction only; other
            files say.

    Gives:
        a mesh as pos (V, 3) and face (3, F), with no face a point cloud, and color (V, 3) from 0 to 1
        where vertices have colours (.ply .off .obj .glb ...; not those of a texture), normal (V, 3) where points have
        normals (.ply). Columns 4 to 6 of rows of points are normals if each row is of length one, or colours if they are
        whole numbers from 0 to 255; of a .pts with seven columns, whose fourth is an intensity, columns 5 to 7. A
        `cotan.MeshWarning` names what else there is of points, or of the vertices of a .ply, such as its quality.
        A graph as edge_index (2, E), both directions of an undirected edge, edge_weight (E,) where there are weights, and
        num_nodes. Nodes of an .edgelist that are numbers come in their order; node_id (V,) has these where they are not 0 to
        V - 1. Other attributes are left out, which a `cotan.MeshWarning` says.

    >>> cotan.read("bunny.off")
    """
    if not isinstance(path, str | os.PathLike):
        raise CotanError(
            f"read takes a file, got a {type(path).__name__}: Data(pos=, face=) or Data(x=, edge_index=) makes a shape of "
            "tensors, torch_geometric.utils.from_trimesh or from_networkx of those"
        )
    path = Path(path)
    if os.path.isdir(path):
        raise CotanError(f"{path} is a folder; expected a mesh or a graph file")
    if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe is to wait for who writes into it
        raise CotanError(f"{path} is a pipe or a device; expected a mesh or a graph file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except (FileNotFoundError, ValueError):  # a name with a null character
        raise CotanError(f"no file {path}") from None
    except OSError as reason:
        raise CotanError(f"{path} cannot be read: {reason.strerror or reason}") from reason
    if empty:
        raise CotanError(f"{path} is empty")
    suffix = path.suffix.lower()
    if suffix in ELSEWHERE:
        raise CotanError(f"{path}: read takes no {suffix} files; {ELSEWHERE[suffix]}")
    if directed and suffix != ".edgelist":
        raise CotanError(f"{path}: directed=True is for an .edgelist; in other files of graphs it is said")
    one_of(f"kind of file ({path})", suffix, (*MESHES, *POINTS, *GRAPHS))
    if suffix in ZIPPED:
        _check_unpacked(path)
    try:
        if suffix in GRAPHS:
            return _read_graph(path, suffix, directed)
        return _read_mesh(path, weld, repair, dtype)
    except CotanError:
        raise
    except (MemoryError, OverflowError, RecursionError, ValueError) as reason:  # sizes and numbers beyond all measure
        raise CotanError(f"{path} cannot be read: {type(reason).__name__}: {reason}") from reason


def _check_unpacked(path: Path) -> None:
    """Raise for a zipped file of which little is stored and much would be unpacked."""
    size, whole = path.stat().st_size, 0
    with suppress(zipfile.BadZipFile, NotImplementedError), zipfile.ZipFile(path) as archive:
        whole = sum(file.file_size for file in archive.infolist())  # no more than that is read of each
    if whole > max(ARRAYS if path.suffix.lower() == ".npz" else UNPACKED[0], UNPACKED[1] * size):
        raise CotanError(
            f"{path} has {size} bytes and unpacks to {whole}, expected at most {UNPACKED[1]} times as many"
        )


def _read_mesh(path: Path, weld: bool, repair: bool, dtype: torch.dtype | None) -> Any:
    from torch_geometric.data import Data

    if path.suffix.lower() in POINTS:
        (pos, color, normal), face = load_points(path), torch.empty(3, 0, dtype=torch.long)
    else:
        pos, face, color, normal = load(path)
    if not repair and not torch.isfinite(pos).all():
        bad = int((~torch.isfinite(pos)).any(1).sum())
        raise CotanError(
            f"{path} has NaN or infinite coordinates at {bad} of {len(pos)} vertices; read(..., repair=True) drops them"
        )
    check_range(f"{path}: face", face, len(pos))
    if pos.shape[1] != 3:
        raise CotanError(f"{path} has vertices of {pos.shape[1]} coordinates, expected three")
    kept = torch.arange(len(pos))
    if weld or path.suffix.lower() == ".stl":
        kept, number = torch.unique(first_alike(pos), return_inverse=True)
        face = number[face]
    if not face.numel():
        kept = kept[torch.isfinite(pos[kept]).all(1)]
    data = Data(pos=pos[kept])
    if color is not None:
        data.color = color[kept]
    if normal is not None:
        data.normal = normal[kept].to(dtype or torch.float32)
    if face.numel():
        data.face = face
        data = _mended(path, data) if repair else _looked_at(path, data)
    data.pos = _cast(path, data.pos, dtype)
    return data


def _mended(path: Path, data: Any) -> Any:
    from .operators.repair import repair

    try:
        data, done = repair(data)
    except CotanError as reason:
        raise CotanError(f"{path}: {reason}") from reason
    if done:
        warnings.warn(f"repaired {path}: {', '.join(done)}", MeshWarning, stacklevel=4)
    return data


def _looked_at(path: Path, data: Any) -> Any:
    from .operators.mesh_report import faults, mesh_report

    report = mesh_report(data.pos, data.face)
    if (again := report["duplicate_vertices"]) > 0:  # as only weld=False leaves them
        text = f"{path} has {again} vertices at the place of another, and {report['components']} components"
        warnings.warn(f"{text}; read(..., weld=True) joins them", MeshWarning, stacklevel=4)
    if wrong := faults(report):
        warnings.warn(f"{path} has {wrong}; read(..., repair=True) mends what can be", MeshWarning, stacklevel=4)
    return data


def _moved(pos: torch.Tensor, dtype: torch.dtype) -> float:
    """How far a dtype moves vertices, as it does where a shape lies far from the origin; 0 if that is little beside the
    way between them, of which the width has about the root of V."""
    moved = float((pos.to(dtype).double() - pos).abs().amax()) if len(pos) else 0.0
    if not moved:
        return 0.0
    some = pos[:: len(pos) // 1000 + 1]
    away = (some - some.median(0).values).abs().median(0).values  # a quarter of the width, whatever a few stray ones do
    return moved if moved > MOVED * 4 * float(away.max()) / len(pos) ** 0.5 else 0.0


def _cast(
    path: Path, pos: torch.Tensor, dtype: torch.dtype | None, instead: str = "read(..., dtype=torch.float64)"
) -> torch.Tensor:
    """pos in dtype, with a warning where that moves vertices much; of None float32, or float64 where that would."""
    moved = _moved(pos, dtype or torch.float32)
    cast = pos.to(dtype or (torch.float64 if moved else torch.float32))
    if not torch.isfinite(cast).all():
        far = float(pos.abs().max())
        raise CotanError(f"{path} has coordinates up to {far:.0e}, too large for {cast.dtype}; {instead}")
    if moved and dtype:
        warnings.warn(
            f"{dtype} is too coarse for {path}: it moves vertices by up to {moved:.2g}; {instead}",
            MeshWarning,
            stacklevel=4,
        )
    return cast


def _read_graph(path: Path, suffix: str, directed: bool) -> Any:
    import networkx
    import scipy.io
    import scipy.sparse
    from torch_geometric.data import Data

    names: list[Any] = []
    left_out = ""
    try:
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if "format" not in arrays:
                    raise CotanError(f"{path} holds {', '.join(arrays)}, and no sparse matrix of scipy's. {OF_MATRIX}")
            matrix = scipy.sparse.load_npz(path)
            if matrix.format in ("csr", "csc", "bsr"):  # scipy follows its pointers, wherever they point
                matrix.check_format(full_check=True)
        elif suffix == ".mtx":
            text = path.read_bytes().removeprefix(codecs.BOM_UTF8)
            if b"\0" in text:  # scipy's reader looks for the end of a line behind it, as behind the last
                raise ValueError("it holds null characters, and is no text")
            _check_numbers(text)
            with warnings.catch_warnings():  # scipy 1.18 warns of what it will give; either is made an array here
                warnings.simplefilter("ignore", DeprecationWarning)
                matrix = scipy.sparse.coo_array(scipy.io.mmread(BytesIO(text + b"\n")))
        elif suffix == ".edgelist":
            names, matrix = load_edgelist(path, directed)
        else:
            if suffix == ".graphml":
                graph = networkx.read_graphml(path)
            else:  # `read_gml` takes ASCII alone
                graph = networkx.parse_gml(path.read_text("utf-8-sig", errors="replace"), label="id")
            names, left_out = list(graph), _left_out(graph)
            if names:
                matrix = networkx.to_scipy_sparse_array(graph, names, dtype=float)
            else:
                matrix = scipy.sparse.coo_array((0, 0))
        coo = matrix.tocoo()
    except CotanError:
        raise
    except Exception as reason:
        why = f"{type(reason).__name__}: {reason}"[:300]  # zipfile's quotes what it found
        raise CotanError(f"{path} cannot be read as a graph: {why}") from reason
    if left_out:
        instead = f"torch_geometric.utils.from_networkx(networkx.read_{suffix[1:]}(path))"
        warnings.warn(f"{path}: {left_out} left out; {instead} takes attributes", MeshWarning, stacklevel=3)
    if coo.ndim != 2 or coo.shape[0] != coo.shape[1]:
        raise CotanError(f"{path} holds a {' x '.join(map(str, coo.shape))} matrix; a graph's is square")
    if not coo.shape[0]:
        raise CotanError(f"{path} has no nodes")
    if coo.dtype.kind == "c":
        raise CotanError(f"{path} has complex weights, expected real numbers")
    edge_index = torch.stack([torch.as_tensor(coo.row).long(), torch.as_tensor(coo.col).long()])
    weight = torch.as_tensor(coo.data.astype("f8")).to(torch.float32)
    if not torch.isfinite(weight).all():
        raise CotanError(f"{path} has weights that are NaN, infinite or too large for float32")
    data = Data(edge_index=edge_index, num_nodes=coo.shape[0])
    if len(weight) and not bool((weight == 1).all()):
        data.edge_weight = weight
    if all(str(name).isdecimal() and int(name) < 2**63 for name in names):
        numbers = torch.tensor(list(map(int, names)))
        if len(names) and not torch.equal(numbers, torch.arange(len(names))):
            data.node_id = numbers
    return data


def _check_numbers(text: bytes) -> None:
    """Raise where scipy would take a part of a word in an .mtx: of 2,5 the 2, of 1.5D-3 the 1.5, among integers of 2.5 the 2."""
    known = b"" if b"integer" in text.partition(b"\n")[0].lower() else b".einfatyEINFATY"
    lines = re.sub(rb"\A(?:\s*+%[^\n]*+\n)*+", b"", text)
    if not lines.translate(None, b"0123456789+- \t\r\n" + known):
        return  # to look at lines takes several times as long as to read them
    if odd := re.search(rb"\n[^%%\n]*?[^%%\s\d+%b-]\S*" % known, text):
        raise ValueError(f"{odd[0].decode(errors='replace').strip()!r} has what is no such number")


def _left_out(graph: Any) -> str:
    """What nodes and edges have beside weights. A label that is the node's own number says nothing."""
    of_nodes = {k for name, own in graph.nodes(data=True) for k in own if (k, str(own[k])) != ("label", str(name))}
    of_edges = {k for *_, own in graph.edges(data=True) for k in own if k != "weight"}
    both = (("nodes", of_nodes), ("edges", of_edges))
    return " and ".join(f"{', '.join(sorted(found))} of {what}" for what, found in both if found)


def write(data: Any, path: str | os.PathLike[str], *, colors: Any = None) -> None:
    """A mesh or points to a file (.off .obj .ply, of meshes also .stl .glb), written whole or not at all.

    .off and .obj keep the digits of `pos`. A .ply holds float32, or doubles where float32 would move vertices; .stl and
    .glb hold float32, and a `cotan.MeshWarning` says where that moves vertices. An .stl holds no colours and no vertices
    but the corners of its faces. Of points, a .ply holds `data.normal`, (V, 3), too.

    Arguments:
        colors: (V, 3) in [0, 1]; or a function (V,), blue below zero and red above; or labels (V,), whole numbers. By
            default the shape's own, `data.color`, where there are any.

    >>> cotan.write(shape, "curved.ply", colors=cotan.compute(shape, "mean_curvature"))
    """
    from .colors import colors_of, is_color
    from .operators.checks import check_face

    check_points("write", data)
    expect("write", path, str | os.PathLike, "a file")
    path = Path(path)
    kind = path.suffix.lower()
    one_of(f"kind of file ({path})", kind, WRITES)
    if colors is not None and kind not in COLORED:
        raise CotanError(f"{path}: a {kind} file holds no colours, expected {', '.join(COLORED)}")
    if kind in (".stl", ".glb") and data.get("face") is None:
        raise CotanError(
            f"{path}: a {kind} is written of faces, and the shape has none; .off, .obj and .ply hold points"
        )
    pos = data.pos.detach().cpu()
    face = None if data.get("face") is None else check_face(data.face, len(pos)).cpu()
    if colors is None and kind in COLORED and is_color(data.get("color"), len(pos)):
        colors = data.color
    shades = None if colors is None else (colors_of(colors, len(pos)) * 255).round().to(torch.uint8)
    if kind == ".ply":
        normal = data.get("normal")
        if face is not None or not isinstance(normal, torch.Tensor) or normal.shape != pos.shape:
            normal = None
        content = _ply(path, pos, face, shades, normal)
    else:
        content = (_text if kind in (".off", ".obj") else _binary)(path, pos, face, shades)
    atomic.save(path, content)


def _text(path: Path, pos: torch.Tensor, face: torch.Tensor | None, shades: torch.Tensor | None) -> bytes:
    """An OBJ or OFF file; Python's shortest digits of a number are read as the same number."""
    obj = path.suffix.lower() == ".obj"
    row, table = "%r %r %r", pos.double()
    if shades is not None:
        row += " %.4f %.4f %.4f" if obj else " %d %d %d 255"
        table = torch.cat([table, shades.double() / (255 if obj else 1)], 1)
    corners = torch.empty(0, 3).long() if face is None else face.T
    if obj:
        return (_rows(f"v {row}\n", table) + _rows("f %d %d %d\n", corners + 1)).encode()
    head = f"{'' if shades is None else 'C'}OFF\n{len(pos)} {len(corners)} 0\n"
    return (head + _rows(f"{row}\n", table) + _rows("3 %d %d %d\n", corners)).encode()


def _rows(row: str, table: torch.Tensor) -> str:
    return (row * len(table)) % tuple(table.flatten().tolist())


def _ply(
    path: Path,
    pos: torch.Tensor,
    face: torch.Tensor | None,
    shades: torch.Tensor | None,
    normal: torch.Tensor | None,
) -> bytes:
    pos = pos.double()
    kind, code = ("double", "<f8") if _moved(pos, torch.float32) else ("float", "<f4")
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(pos)}"]
    head += [f"property {kind} {axis}" for axis in "xyz"]
    sizes = [0 if value is None else 3 for value in (normal, shades)]
    vertices = np.empty(len(pos), [("pos", code, 3), ("normal", "<f4", sizes[0]), ("color", "u1", sizes[1])])
    vertices["pos"] = pos.numpy()
    if normal is not None:
        head += [f"property float n{axis}" for axis in "xyz"]
        vertices["normal"] = normal.detach().cpu().float().numpy()
    if shades is not None:
        head += [f"property uchar {name}" for name in ("red", "green", "blue")]
        vertices["color"] = shades.numpy()
    faces = np.empty(0 if face is None else face.shape[1], [("number", "u1"), ("corners", "<i4", 3)])
    if face is not None:
        head += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        faces["number"], faces["corners"] = 3, face.T.numpy()
    return "\n".join([*head, "end_header\n"]).encode() + vertices.tobytes() + faces.tobytes()


def _binary(path: Path, pos: torch.Tensor, face: torch.Tensor | None, shades: torch.Tensor | None) -> bytes:
    import trimesh

    pos = _cast(path, pos.double(), torch.float32, "write .obj, .off or .ply")
    faces, colors = None if face is None else face.T.numpy(), None if shades is None else shades.numpy()
    mesh: Any = trimesh.Trimesh(pos.numpy(), faces, vertex_colors=colors, process=False)
    return mesh.export(file_type=path.suffix.lower()[1:])
