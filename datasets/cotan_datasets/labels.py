"""Labels in files beside meshes, one for each vertex, edge or face, or made one for each vertex by votes."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

import cotan
from cotan.operators import undirected
from cotan.sparse import firsts

SUFFIXES = (".eseg", ".seg", ".txt", ".npy")
FOLDERS = ("seg", "labels", "gt", "points_label")
MOST = 1000  # classes; what has more is no label
PER = {"vertex": "vertices", "edge": "edges", "face": "faces"}


def labelled(
    root: Path,
    files: Sequence[tuple[Path, str]],
    per: str,
    by_votes: bool,
    progress: Callable[[int, int], object] | None,
) -> cotan.Splits:
    """Meshes or points (file, split) with y from their labels; those without, or with another number of them, are skipped.

    y is (V,) by votes, otherwise the labels of the file with the vertices `y_index` (n, N) of each.

    Labels count from 1 where none is 0; the classes are named as in the files.
    """
    splits = cotan.Splits([], [], [], task="label")
    found = []
    for data, split in read_shapes(files, splits.skipped, progress, weld=False):  # of the vertices of the file
        try:
            file = label_file(Path(data.path), root)
            found.append((split, data, file, read_labels(file)))
        except cotan.CotanError as reason:
            splits.skipped.append((data.path, str(reason)))
    if not found:
        raise cotan.CotanError(
            f"folder: none of {len(files)} meshes in {root} has labels; the first: {splits.skipped[0][1]}. "
            "For one class a shape: ROOT/CLASS/train/*.off"
        )
    named: dict[Path, str] = {}
    for _, data, file, _ in found:
        if named.setdefault(file, data.path) != data.path:
            twice = f"{file} has the labels of {named[file]} and of {data.path}: two meshes of one name"
            warnings.warn(twice, cotan.MeshWarning, stacklevel=5)
    per = per or choose([fitting(*parts) for _, *parts in found], sizes_of(*found[0][1:]))
    ready = []
    for split, data, file, labels in found:
        of = elements(data)
        try:
            if per not in of or len(labels) != of[per].shape[1]:
                raise cotan.CotanError(f"expected a label for each {per}: {sizes_of(data, file, labels)}")
            soft = read_soft(Path(data.path), root, len(labels)) if per == "edge" else None
            ready.append((data, split, of[per], labels, soft))
        except cotan.CotanError as reason:
            splits.skipped.append((data.path, str(reason)))
    if not ready:
        raise cotan.CotanError(f"folder: no mesh in {root} has labels that fit; the first: {splits.skipped[0][1]}")
    low = min(1, min(int(labels.where(labels >= 0, 1).min()) for *_, labels, _ in ready))
    sizes = [int(labels.max()) + 1 - low for *_, labels, _ in ready]
    classes = max(sizes + [soft.shape[1] for *_, soft in ready if soft is not None])
    if classes > MOST:
        raise cotan.CotanError(
            f"folder: labels from {low} to {low + classes - 1}, expected at most {MOST} classes in a row"
        )
    for data, split, of, labels, soft in ready:
        getattr(splits, split).append(data)
        given, labels = labels >= 0, (labels - low).clamp(min=0)
        if by_votes:
            weights = one_hot(labels, classes) if soft is None else pad(soft, (0, classes - soft.shape[1]))
            votes = vote(weights * given[:, None], of, len(data.pos))
            data.y, given = votes.argmax(1), votes.any(1)  # none: a vertex without a face, say
        else:
            data.y, data.y_index = labels, of
        if not given.all():
            data.mask = given
    splits.classes = tuple(str(low + i) for i in range(classes))
    return splits


def read_shape(path: Path, *, weld: bool = True) -> Any:
    """A mesh or points, with its path."""
    with warnings.catch_warnings():  # a line a file is too much of a whole data set
        warnings.simplefilter("ignore", cotan.MeshWarning)
        data = cotan.read(path, weld=weld)
    data.path = str(path)
    return data


def read_shapes(
    files: Sequence[tuple[Path, Any]],
    skipped: list[tuple[str, str]],
    progress: Callable[[int, int], object] | None,
    *,
    weld: bool,
) -> list[tuple[Any, Any]]:
    """The shapes of (file, anything), with that; what cannot be read, or has no faces where others have, goes to `skipped`."""
    shapes = []
    for number, (path, more) in enumerate(files):
        try:
            shapes.append((read_shape(path, weld=weld), more))
        except cotan.CotanError as reason:
            skipped.append((str(path), str(reason)))
        if progress is not None:
            progress(number + 1, len(files))
    if any("face" in data for data, _ in shapes):  # with points among them, all would be taken for points
        skipped += [(data.path, f"{data.path} has no faces") for data, _ in shapes if "face" not in data]
        shapes = [(data, more) for data, more in shapes if "face" in data]
    return shapes


def label_file(mesh: Path, root: Path) -> Path:
    """NAME.eseg, .seg, .txt or .npy: beside the mesh, or in a folder of ROOT."""
    for folder in (mesh.parent, *(root / name for name in FOLDERS)):
        for suffix in SUFFIXES:
            if (folder / f"{mesh.stem}{suffix}").is_file():
                return folder / f"{mesh.stem}{suffix}"
    raise cotan.CotanError(
        f"{mesh} has no labels: expected {mesh.stem}{', '.join(SUFFIXES)} beside it, in {root}/{', '.join(FOLDERS)}"
    )


def read_labels(path: Path) -> Tensor:
    """The whole numbers (N,) in a file, zero or more, and -1 for none."""
    values = _numbers(path)
    labels = values.round().long()
    wrong = ((labels != values) | (labels < -1)).nonzero()[:, 0]
    if not len(labels) or len(wrong):
        got = f"number {wrong[0] + 1} is {values[wrong[0]]:g}" if len(wrong) else "it is empty"
        raise cotan.CotanError(f"{path} holds something else than labels, whole numbers, -1 (none) or more: {got}")
    return labels


def read_soft(mesh: Path, root: Path, edges: int) -> Tensor | None:
    """Weights (E, C) of each label at each edge, from ROOT/sseg/NAME.seseg; None if there is no such file."""
    path = root / "sseg" / f"{mesh.stem}.seseg"
    if not path.is_file():
        return None
    values = _numbers(path)
    if not len(values) or len(values) % edges or (values < 0).any():
        raise cotan.CotanError(
            f"{path} has {len(values)} numbers, expected some, zero or more, for each of {edges} edges"
        )
    return values.view(edges, -1)


def edges_of(face: Tensor) -> Tensor:
    """The edges (2, E) of faces (3, F) in the order in which they first appear: sides 01, 12, 20 of each face.

    This is the order of Hanocka et al. 2019.
    """
    sides = torch.stack([face, face.roll(-1, 0)]).transpose(1, 2).reshape(2, -1)  # (2, F 3)
    low, high, number = undirected(*sides, int(face.max()) + 1)
    return torch.stack([low, high])[:, firsts(number).argsort()]


def elements(data: Any) -> dict[str, Tensor]:
    """The vertices of each vertex, edge and face: (1, V), (2, E) and (3, F); of points, of each vertex."""
    of = {"vertex": torch.arange(len(data.pos))[None]}
    return {**of, "edge": edges_of(data.face), "face": data.face} if "face" in data else of


def fitting(data: Any, file: Path, labels: Tensor) -> list[str]:
    """What the labels may be for, by their number."""
    kinds = ("edge",) if file.suffix == ".eseg" else PER
    return [per for per, of in elements(data).items() if per in kinds and of.shape[1] == len(labels)]


def sizes_of(data: Any, file: Path, labels: Tensor) -> str:
    """How many labels a file has, and of what they may be, for messages."""
    there = ", ".join(f"{of.shape[1]} {PER[per]}" for per, of in elements(data).items())
    return f"{file} has {len(labels)} labels, the {'mesh' if 'face' in data else 'file'} has {there}"


def choose(fits: Sequence[Sequence[str]], first: str) -> str:
    """What the labels of most meshes may be for."""
    counts = {per: sum(per in fit for fit in fits) for per in PER}
    chosen = [per for per in PER if counts[per] == max(counts.values())]
    if not any(counts.values()):
        raise cotan.CotanError(
            f"folder: none of {len(fits)} meshes has as many labels as it has {', '.join(PER.values())} in its file; "
            f"the first: {first}"
        )
    if len(chosen) > 1:
        raise cotan.CotanError(
            f"folder: the number of labels is that of the {' and of the '.join(PER[per] for per in chosen)}; "
            f"say what they are for: per={' or per='.join(map(repr, chosen))}"
        )
    return chosen[0]


def vote(weights: Tensor, of: Tensor, vertices: int) -> Tensor:
    """The weights (V, C) of each label at each vertex: sums over the elements of (n, N), with weights (N, C), around it."""
    votes = torch.zeros(vertices, weights.shape[1], dtype=torch.float64)
    for corner in of:
        votes.index_add_(0, corner, weights.double())
    return votes


def _numbers(path: Path) -> Tensor:
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False).reshape(-1).astype(np.float64)
        else:
            values = np.array(path.read_text("utf-8-sig").replace(",", " ").split(), dtype=np.float64)
    except (OSError, ValueError, EOFError) as reason:
        raise cotan.CotanError(f"{path} cannot be read as numbers: {reason}") from reason
    return torch.from_numpy(values)
