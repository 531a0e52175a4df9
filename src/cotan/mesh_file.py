"""A mesh file to vertices and faces: by trimesh, and what trimesh leaves out of an OBJ or PLY file."""

from __future__ import annotations

import json
import logging
import re
import struct
import warnings
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import get_ident
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor

from .errors import CotanError, MeshWarning
from .off_file import load_off, warn_of_small
from .ply_file import polygons

KNOWN = ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "alpha")  # properties of the vertices of a PLY file
TEXTURE = ("s", "t", "u", "v", "texture_u", "texture_v")
HEADER = 2**16  # bytes of a file within which its header ends


def load(path: Path) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Vertices (V, 3) in float64, faces (3, F), none of a point cloud; colours and, of points, normals (V, 3), if there are any.

    Of a scene, all meshes; if it has none, all points.
    """
    import trimesh

    kind = path.suffix.lower()
    if kind == ".off":
        return *load_off(path), None
    if kind[1:] not in trimesh.available_formats():
        raise CotanError(f"{path}: files of this kind need lxml and pycollada: pip install 'cotan[formats]'")
    with path.open("rb") as file:
        header = file.read(HEADER).removeprefix(BOM_UTF8)
    if kind == ".ply" and b"format ascii" in header:
        _check_whole(path)
    if kind in (".glb", ".gltf"):
        _check_gltf(path)
    strips = kind == ".ply" and b"\nelement tristrips " in header
    heard = _Heard()
    logging.getLogger("trimesh").addHandler(heard)
    try:
        options: Any = {"process": False, "maintain_order": True, "skip_materials": True}
        options["resolver"] = _Beside(path) if kind == ".gltf" else None
        if kind == ".ply":  # else vertices are split where texture is, and those without a face left out
            options["fix_texture"] = False
        source = _source(path)
        mesh: Any = trimesh.load(source, kind[1:], **options)
        if isinstance(mesh, trimesh.Scene):
            mesh = _of_scene(mesh)
        if strips:
            mesh = _unrolled(mesh)
    except CotanError:
        raise
    except Exception as reason:  # parsers of broken files raise anything
        if kind == ".obj" and isinstance(reason, IndexError | RuntimeWarning):  # numpy's, where warnings are errors
            _plain_obj(path, path.read_bytes())  # says so where a face's vertex is not there
        mesh = _polygons(path) if kind == ".ply" and not strips else None
        if mesh is None:
            why = " ".join(f"{type(reason).__name__}: {reason}".split()).removesuffix(":")[:200]
            raise CotanError(f"{path} cannot be read as a mesh; is it a whole {kind} file? ({why})") from reason
    finally:
        logging.getLogger("trimesh").removeHandler(heard)
    if heard.undecoded:
        raise CotanError(f"{path} is compressed: {heard.undecoded}. trimesh decodes Draco where DracoPy is installed")
    if not hasattr(mesh, "visual") or len(mesh.vertices) == 0:  # as lines have not
        raise CotanError(
            f"{path} has no vertices of triangles or points; is it a whole {kind} file? "
            "(lines, curves, triangle fans and skinned meshes are not read)"
        )
    face = torch.tensor(np.asarray(getattr(mesh, "faces", [])), dtype=torch.long).reshape(-1, 3).T.contiguous()
    stated = 0
    if kind == ".ply" and (found := re.search(rb"\nelement face (\d+)", header)):
        stated = int(found[1])
    elif kind == ".stl" and header.lstrip()[:5].lower() == b"solid":  # trimesh leaves out a solid that does not end
        stated = len(re.findall(rb"(?i)\n[ \t]*+endfacet", source.getvalue()))
    if face.shape[1] < stated:
        raise CotanError(f"{path} states {stated} faces and has {face.shape[1]} of three corners; is it a whole file?")
    if kind == ".obj":
        warn_of_small(path, source.getvalue().count(b"\nf ") - face.shape[1], stacklevel=5)
    pos = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float64)
    known = (*KNOWN, *TEXTURE) if face.numel() else KNOWN
    if others := [name for name in _properties(mesh) if name not in known]:
        text = ", ".join(others[:5]) + " ..." * (len(others) > 5)
        warnings.warn(f"{path}: {text} left out", MeshWarning, stacklevel=4)
    return pos, face, _colors(mesh), None if face.numel() else _normals(mesh)


class _Beside:
    """The files that a .gltf names: in its folder or below it, no pipes and no devices."""

    def __init__(self, path: Path):
        self.path = path

    def __getitem__(self, name: str) -> bytes:
        folder = self.path.parent.resolve()
        file = (folder / unquote(name)).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise CotanError(f"{self.path} names {name!r}, expected a file in its folder")
        return file.read_bytes()


def _source(path: Path) -> BytesIO:
    """The file's content, not its path, by which trimesh would find others; of an OBJ file its lines as trimesh takes them.

    Without materials, by which it would sort the faces, and without texture, for which it would leave out colours.
    """
    if path.suffix.lower() != ".obj":
        return BytesIO(path.read_bytes())
    text = path.read_bytes().removeprefix(BOM_UTF8)
    if text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):  # as PowerShell writes
        text = text.decode("utf-16").encode()
    lines = b"\n" + text
    faces = lines[lines.find(b"\nf") :]
    # A comment at the end of a line, a face that does not count from 1; where a byte is not there, no line is looked at.
    comment = lines.count(b"#") > lines.count(b"\n#") and re.search(rb"\n[^#\n]+#", lines)
    counted = (b"-" in faces or b" 0" in faces) and re.search(rb"\nf[^\n]*(?:-| 0)", faces)
    if any(sign in lines for sign in (b"\t", b"\n ", b"\\")) or comment or counted:
        text = _plain_obj(path, text)
    return BytesIO(text.replace(b"usemtl ", b"# ").replace(b"\nvt ", b"\n# "))


def _plain_obj(path: Path, text: bytes) -> bytes:
    """The vertices and faces of an OBJ file, a line each, numbered from one: -1 is the last vertex before the face."""
    lines, count, last = [], 0, 0
    for line in re.sub(rb"\\\r?\n", b" ", text).splitlines():
        words = line.partition(b"#")[0].split()
        if words[:1] == [b"v"]:
            count += 1
            lines.append(b" ".join(words))
        elif words[:1] == [b"f"]:
            given = [int(word.partition(b"/")[0]) for word in words[1:]]
            corners = [i + count + 1 if i < 0 else i for i in given]
            if min(corners, default=1) < 1:
                wrong = given[corners.index(min(corners))]
                raise CotanError(f"{path} has a face with vertex {wrong} after {count} vertices; an .obj counts from 1")
            last = max([last, *corners])
            lines.append(b"f %b" % b" ".join(b"%d" % i for i in corners))
    if last > count:
        raise CotanError(f"{path} has a face with vertex {last}, and {count} vertices; an .obj counts from 1")
    return b"\n".join(lines)


def _colors(mesh: Any) -> Tensor | None:
    columns = _columns(mesh, "red", "green", "blue")
    if columns is not None:  # trimesh has texture instead, where there is any
        columns = np.nan_to_num(columns.view(np.uint8) if columns.dtype == np.int8 else columns, posinf=0)
        largest = columns.max()  # which may be a little beyond the full, by light or interpolation
        full = 65535 if largest >= 512 else 255 if largest >= 2 or columns.dtype.kind != "f" else 1
        return torch.from_numpy(columns / full).clamp(0, 1).float()
    visual: Any = mesh.visual
    shades: Any = visual.vertex_colors if visual.kind in ("vertex", "vertex_colors") else []
    return torch.tensor(shades[:, :3]) / 255 if len(shades) == len(mesh.vertices) else None


def _normals(cloud: Any) -> Tensor | None:
    """Of the points of a PLY file, which trimesh leaves out."""
    columns = _columns(cloud, "nx", "ny", "nz")
    return None if columns is None else torch.from_numpy(columns.astype(np.float64))


def _columns(mesh: Any, *names: str) -> np.ndarray | None:
    """Properties of the vertices of a PLY file (V, 3) as they stand there; None where it has not all of them."""
    found = _properties(mesh)
    if not {*names} <= found.keys():
        return None
    return np.stack([np.asarray(found[name]).reshape(-1) for name in names], 1)


def _properties(mesh: Any) -> dict[str, Any]:
    """The properties of a PLY file's vertices by their names."""
    table = mesh.metadata.get("_ply_raw", {}).get("vertex", {}).get("data", {})
    names = table.dtype.names if isinstance(table, np.ndarray) else table
    return {name: table[name] for name in names or ()}


def _check_whole(path: Path) -> None:
    """Of a PLY file in text that was cut short, trimesh takes the faces that are left, and of a face what its line has."""
    head, _, body = path.read_text("utf-8-sig", errors="replace").partition("end_header")
    sizes = re.findall(r"element (?:vertex|face) (\d++)", head)
    if len(sizes) != 2:
        return
    vertices, faces = map(int, sizes)
    rows = [row for row in body.splitlines() if row.strip()][vertices:]
    if len(rows) < faces:
        raise CotanError(f"{path} ends after {len(rows)} of its {faces} faces")
    if re.match(r"(?:(?!element).*\n)*element vertex.*\n(?:property.*\n)*element face \d+\nproperty list", head):
        for number, (corners, *others) in enumerate(map(str.split, rows[:faces])):
            if float(corners) > len(others):
                raise CotanError(f"{path}: face {number} states {corners} corners and has {len(others)}")


def _check_gltf(path: Path) -> None:
    """Raise for a glTF file of which trimesh would leave something out, or that claims far more numbers than it has: of an
    accessor without a view, trimesh makes zeros."""
    whole, claimed, left_out = path.stat().st_size, 0, ""
    with (
        suppress(ValueError, LookupError, TypeError, AttributeError, struct.error),  # of what is no such file
        path.open("rb") as file,
    ):
        head = file.read(20)
        # Of a .glb its JSON alone, whose stated length may be beyond the file and all memory.
        text = file.read(min(whole, *struct.unpack_from("<I", head, 12))) if head[:4] == b"glTF" else head + file.read()
        document = json.loads(text)
        empty = [(i, 24 * one["count"]) for i, one in enumerate(document["accessors"]) if "bufferView" not in one]
        claimed = sum(size for _, size in empty)  # of points in float64
        parts = [part for mesh in document["meshes"] for part in mesh["primitives"]]
        drawn = {
            i % len(document["accessors"]) for p in parts for i in (*p["attributes"].values(), p.get("indices", 0))
        }
        morphs = {i for p in parts for target in p.get("targets", ()) for i in target.values()} - drawn
        claimed -= sum(size for i, size in empty if i in morphs)  # which nobody reads, and many an avatar has
        left_out = _not_drawn(path, document, parts)
    if claimed > max(2**26, 100 * whole):
        raise CotanError(f"{path} has {whole} bytes and states {claimed} of accessors without a buffer")
    if left_out:
        raise CotanError(
            f"{path} has {left_out}, which cotan does not read; export plain triangles with float positions"
        )


def _not_drawn(path: Path, document: dict[str, Any], parts: list[Any]) -> str:
    """What trimesh takes without its meaning, so that places, faces or copies would be wrong or missing."""
    if any(any(each.get("weights", ())) for each in (*document["meshes"], *document.get("nodes", ()))):
        text = f"{path}: morph targets are left out; their weights are not all 0, so the shape differs from that shown"
        warnings.warn(text, MeshWarning, stacklevel=6)
    meshopt = ("EXT_meshopt_compression", "KHR_meshopt_compression")  # not required where plain buffers are there, too
    for name in (*meshopt, "EXT_mesh_gpu_instancing"):
        if name in document.get("extensionsRequired" if name in meshopt else "extensionsUsed", ()):
            return name
    for part in parts:
        if part.get("mode") == 6:
            return "triangle fans"
        numbers = (part["attributes"].get("POSITION"), part.get("indices"))
        for accessor in (document["accessors"][i] for i in numbers if i is not None):
            if "sparse" in accessor:
                return "sparse accessors"
            if accessor.get("normalized"):
                return "positions in normalized integers (KHR_mesh_quantization)"
    return ""


class _Heard(logging.Handler):
    """trimesh logs where it could not decode a mesh, and gives zeros. Other threads may be reading files of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.undecoded, self.thread = "", get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread and "placeholder" in record.getMessage():
            self.undecoded = record.getMessage()


def _of_scene(scene: Any) -> Any:
    """All meshes of a scene as one; where there are none, all points."""
    import trimesh

    placed = scene.dump()  # in the scene's coordinates
    cloud: Any = trimesh.PointCloud
    clouds = [part for part in placed if isinstance(part, cloud)]
    if clouds and len(clouds) == len(placed):
        colors = np.concatenate([part.colors for part in clouds if len(part.colors) == len(part.vertices)] or [[]])
        points = np.concatenate([part.vertices for part in clouds])
        return cloud(points, colors if len(colors) == len(points) else None)
    return scene.to_mesh() if placed else None


def _unrolled(cloud: Any) -> Any:
    """The points of a PLY file with its triangle strips, as Stanford's have them: one list, -1 after each strip."""
    import trimesh

    data = cloud.metadata["_ply_raw"]["tristrips"]["data"]
    lists = next(iter(data.values())) if isinstance(data, dict) else data[data.dtype.names[0]]["f1"]
    parts = [part[part >= 0] for each in map(np.asarray, lists) for part in np.split(each, np.flatnonzero(each < 0))]
    face = trimesh.util.triangle_strips_to_faces([part for part in parts if len(part) > 2])
    repeats = (face == np.roll(face, 1, 1)).any(1)  # where strips are sewn together
    return trimesh.Trimesh(cloud.vertices, face[~repeats], process=False, metadata=cloud.metadata)


def _polygons(path: Path) -> Any:
    """A PLY file with polygons of several kinds, as fans of triangles; None where this is no such file."""
    import trimesh

    try:
        columns, faces = polygons(path.read_bytes())
        pos = np.stack([columns[axis] for axis in "xyz"], 1).astype(np.float64)
        corners = trimesh.geometry.triangulate_quads(faces)
        return trimesh.Trimesh(pos, corners, process=False, metadata={"_ply_raw": {"vertex": {"data": columns}}})
    except (ValueError, LookupError, MemoryError, OverflowError, struct.error):
        return None
