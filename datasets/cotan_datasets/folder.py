"""A folder of meshes or points: a class for each, ROOT/CLASS/SPLIT/*.off, or labels beside them, ROOT/SPLIT/*.off."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from glob import escape
from pathlib import Path

import torch

import cotan
from cotan.errors import one_of

from .labels import FOLDERS, PER, labelled, read_shapes

# What `cotan.read` takes with faces, and of rows of points what labels are not written in.
SUFFIXES = (".off", ".obj", ".ply", ".stl", ".glb", ".gltf", ".3mf", ".3dxml", ".dae", ".zae", ".xyz", ".pts")
NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
SPLITS = {name: split for split, names in NAMES.items() for name in names}


@cotan.dataset("folder")
def folder(
    *,
    root: str = "",
    seed: int = 0,
    val: float = 0.0,
    test: float = 0.2,
    group: str = "",
    per: str = "",
    votes: bool = True,
    progress=None,
) -> cotan.Splits:
    """Meshes or points that `read` takes, in a folder a class, or meshes with labels; `skipped` lists what is left out.

    That is what cannot be read, and what has no faces where others have.

    Arguments:
        root: the folder. With a folder for each class, which has folders train, test and maybe val, or the files, the task
            is "classify"; so it is with folders train and test that have one for each class. With the files in train and
            test, in shapes or points, or in itself, it is "label": NAME.obj has its labels in NAME.txt, .seg, .eseg or
            .npy, beside it or in ROOT/seg, labels, gt or points_label; -1 is none, which counts nowhere.
        seed, val, test: where the files have no split: shares of each class, drawn by the seed; one at least trains.
        group: what of a file's name says whose it is, a pattern such as "sub-[0-9]+": all files of a patient, say, are in
            one part, also of the val that `fit` cuts.
        per: what labels are for, "vertex", "edge" or "face"; by default what has as many. Edges are counted in the order
            in which they appear over the faces. Vertices are those of the file: none are merged, but for the corners of an .stl.
        votes: y is a label for each vertex: the one that most of the edges or faces around it have; of as many, the
            first. ROOT/sseg/NAME.seseg may hold soft labels: weights at each edge, which then count instead. Without
            votes, y is the file's labels, and `y_index` has the vertices of each edge or face: a model is trained and
            judged there, on the mean of its output at these.
        progress: called with the numbers of files read and in all.
    """
    where = Path(root).expanduser()
    if not root or not where.is_dir():
        near = sorted(p.name for p in where.parent.glob(f"*{escape(where.name)}*") if where.name) if root else []
        raise cotan.CotanError(
            f"folder: root={root!r} is no folder; expected ROOT/CLASS/train/*.off or ROOT/CLASS/*.off, or with labels "
            f"ROOT/train/*.off and ROOT/seg" + (f"; beside it there is {', '.join(near)}" if near else "")
        )
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise cotan.CotanError(f"folder: val={val}, test={test}, expected shares that leave something to train on")
    if per:
        one_of("per of folder", per, PER)
    if not group:
        return _read(where, seed, val, test, per, votes, progress)
    return _by_group(_read(where, seed, 0, 0, per, votes, progress), group, seed, val, test)


def _by_group(splits: cotan.Splits, group: str, seed: int, val: float, test: float) -> cotan.Splits:
    """The shapes with their `group`; where all are in train, test and val are cut of whole groups."""
    for shape in (shape for shapes in splits.lists().values() for shape in shapes):
        name = Path(shape.path).name
        if (found := re.search(group, name)) is None:
            raise cotan.CotanError(f"folder: group={group!r}, and there is no such thing in the name {name!r}")
        shape.group = found[0]
    if splits.test or splits.val:
        return splits
    try:
        cut = splits.with_val(seed, test)
        return replace(cut, val=[], test=cut.val).with_val(seed, val / (1 - test))
    except cotan.CotanError as reason:
        count = len({shape.group for shape in splits.train})
        text = f"folder: {count} groups are too few to cut test={test}, val={val} of them; 0 cuts none"
        raise cotan.CotanError(text) from reason


def _read(where: Path, seed: int, val: float, test: float, per: str, votes: bool, progress) -> cotan.Splits:
    inner = [path for path in _folders(where) if path.name.lower() in SPLITS]
    if any(_meshes(path) for path in inner):
        return labelled(where, _files(where, seed, val, test), per, votes, progress)
    of_labels = [path for path in _folders(where) if path.name in FOLDERS and not _meshes(path)]
    for shapes in (where / "shapes", where / "points"):  # as COSEG and ShapeNet's parts have it
        if of_labels and shapes.is_dir() and _meshes(shapes):
            return labelled(where, _files(shapes, seed, val, test), per, votes, progress)
    if inner:  # ROOT/SPLIT/CLASS
        places = [path for split in inner for path in _folders(split)]
        found = {}
        for file in sorted((file for path in places for file in _meshes(path)), key=lambda file: file.parent.name):
            split = SPLITS[file.parents[1].name.lower()]
            found.setdefault(file.parent.name, []).append((file, split))
    else:
        places = _folders(where)
        found = {path.name: files for path in places if (files := _files(path, seed, val, test))}
    if not found and _meshes(where):
        return labelled(where, _files(where, seed, val, test), per, votes, progress)
    if not found:
        below = next(
            (file for depth in ("*/*/*", "*/*/*/*") for file in sorted(where.glob(depth)) if _is_mesh(file)), ""
        )
        raise cotan.CotanError(
            f"folder: no {', '.join(SUFFIXES)} in {where}/CLASS or {where}/CLASS/train; there is: {_listing(where)}"
            + (f"; and further down {below}" if below else "")
        )
    for name in found:
        if inside := [folder for folder in (*FOLDERS, "sseg") if (where / name / folder).is_dir()]:
            raise cotan.CotanError(
                f"folder: {where / name} has a folder {inside[0]!r}, so it is no class but a set of meshes with labels: "
                f"give root={str(where / name)!r}"
            )
    classes = tuple(found)
    todo = [(path, (split, label)) for label, name in enumerate(classes) for path, split in found[name]]
    splits = cotan.Splits([], [], [], classes=classes, skipped=_left_out(where, places, {path for path, _ in todo}))
    for data, (split, label) in read_shapes(todo, splits.skipped, progress, weld=True):
        data.y = torch.tensor([label])
        getattr(splits, split).append(data)
    return splits


def _files(path: Path, seed: int, val: float, test: float) -> list[tuple[Path, str]]:
    """(file, split) of the meshes in a folder or in its folders train, test and val."""
    inner = [p for p in _folders(path) if p.name.lower() in SPLITS]
    if inner:
        return [(file, SPLITS[p.name.lower()]) for p in inner for file in _meshes(p)]
    files = _meshes(path)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(files), generator=generator).tolist()
    tests = min(math.ceil(test * len(files)), len(files) - 1)  # something is left to train on
    vals = min(math.ceil(val * len(files)), len(files) - 1 - tests)
    where = {place: "test" if i < tests else "val" if i < tests + vals else "train" for i, place in enumerate(order)}
    return [(file, where[i]) for i, file in enumerate(files)]


def _left_out(where: Path, classes: list[Path], used: set[Path]) -> list[tuple[str, str]]:
    """Folders of a class that give no mesh; other meshes that are in no split, where other folders are one."""
    filled = {parent for file in used for parent in file.parents}
    empty = [path for path in classes if path not in filled]
    none = f"has no {', '.join(SUFFIXES)}, nor have folders {', '.join(NAMES)} in it; there is: "
    places = [where, *(path for path in _folders(where) if path not in empty)]
    places += [inner for place in places[1:] for inner in _folders(place) if inner not in empty]
    reason = f"lies in no folder {', '.join(NAMES)} of a class, as others do"
    loose = [(str(file), reason) for place in places for file in _meshes(place) if file not in used]
    return [(str(path), none + _listing(path)) for path in empty] + loose


def _folders(path: Path) -> list[Path]:
    return _in_order(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _meshes(path: Path) -> list[Path]:
    return _in_order(p for p in path.iterdir() if _is_mesh(p))


def _in_order(paths: Iterable[Path]) -> list[Path]:
    """By name: paths of Windows are compared without case, and classes and splits would be others there."""
    return sorted(paths, key=lambda path: path.name)


def _is_mesh(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _listing(path: Path) -> str:
    names = sorted(p.name for p in path.iterdir())
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "nothing"
