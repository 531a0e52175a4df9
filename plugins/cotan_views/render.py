"""Pictures of many shapes from many cameras, a part at a time, so that memory stays bounded."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

import cotan
from cotan.autodiff import is_live
from cotan.blocks import empty
from cotan.errors import at_least, said
from cotan.sparse import check_range

from .cameras import Cameras
from .channels import CHANNELS, width
from .pictures import Pictures, Scene

GEOMETRY = ("depth", "normals", "position")  # of which a mean with the background means nothing
LIT = ("normals", "shaded", "contours")  # what is made of normals
MOST = 8192  # pixels along a side, samples included: a number for each is 256 MiB


class Raster(NamedTuple):
    """What pixels see. face: (..., H, W), -1 for nothing; barycentric: (..., H, W, 3), depth: (..., H, W), 0 for it."""

    face: Tensor
    barycentric: Tensor
    depth: Tensor


class Part(NamedTuple):
    """Some shapes and some cameras: their scene, where their pictures go, and the number of their first face."""

    scene: Scene
    shapes: slice
    views: slice
    first: int


def render(
    pos: Tensor,
    face: Tensor,
    cameras: Cameras,
    *,
    size: int = 224,
    outputs: Sequence[str] = ("depth", "normals"),
    batch: Tensor | None = None,
    color: Tensor | None = None,
    samples: int = 1,
    smooth: bool = False,
    softness: float = 0.0,
    budget: int | None = None,
) -> Tensor:
    """Pictures (B, N, C, size, size) of B shapes from N cameras, channels in the order of `outputs`, background 0.

    pos: (V, 3), in the unit ball for cameras of a rig; face: (3, F); batch: (V,) each vertex's shape, as in PyG;
    color: (V, K). budget: triangles and pixels worked on at once; the result does not depend on it.
    The other options are those of the operator `views`.
    """
    _tensors(cameras, pos=pos, face=face, batch=batch, color=color)
    channels = width(outputs, None if color is None else color.shape[-1])
    grid = _side(size, samples)
    if smooth and not {*LIT}.intersection(outputs):
        raise cotan.CotanError(f"smooth is for the outputs {', '.join(LIT)}, none of which is in {tuple(outputs)}")
    softness = _softness(softness, outputs) * samples
    budget = budget or _budget(pos)

    def draw(part: Part, target: Tensor) -> None:
        pictures = Pictures(part.scene, grid, budget, pos.dtype, smooth, softness)
        near = pictures.near.view(*target.shape[:2], grid, grid)
        planes = ((name, plane) for name in outputs for plane in CHANNELS[name](pictures))
        for channel, (name, plane) in enumerate(planes):
            image = plane.view(near.shape)
            target[:, :, channel] = _mean(image, near if name in GEOMETRY else None, samples)

    recorded = any(map(is_live, (pos, color, *cameras)))
    with _threads(pos, recorded) as threads:
        parts, shapes = _parts(pos, face, cameras, batch, color, grid, budget, threads)
        out = empty((shapes, len(cameras.eye), channels, size, size), pos)
        return _each(draw, parts, threads, recorded, out)[0]


def _side(size: int, samples: int = 1) -> int:
    """How many samples lie along a side of a picture."""
    at_least(1, "views", size=size, samples=samples)
    if size * samples > MOST:
        raise cotan.CotanError(f"views: size={size} with samples={samples}, expected a product of at most {MOST}")
    return size * samples


def _mean(image: Tensor, near: Tensor | None, samples: int) -> Tensor:
    """Over blocks of samples x samples, or (given `near`) over those of them that see something; 0 where none does."""
    if samples == 1:
        return image
    mean = avg_pool2d(image, samples)
    if near is None:
        return mean
    share = avg_pool2d((near > 0).to(mean.dtype), samples)
    return mean / share.masked_fill(share == 0, 1)


def raster(
    pos: Tensor,
    face: Tensor,
    cameras: Cameras,
    *,
    size: int = 224,
    batch: Tensor | None = None,
    budget: int | None = None,
) -> Raster:
    """The face, the point in it and the depth at each pixel's centre, (B, N, size, size) of each.

    It is the nearest face and, of those equally near within rounding (2^-40), the one of the lowest number (a column of
    `face`).
    """
    _tensors(cameras, pos=pos, face=face, batch=batch)
    _side(size)
    budget = budget or _budget(pos)

    def draw(part: Part, faces: Tensor, barycentric: Tensor, depth: Tensor) -> None:
        pictures = Pictures(part.scene, size, budget)
        faces[:] = pictures.paint(pictures.face.unsqueeze(0) + part.first, -1).view(faces.shape)
        barycentric[:] = pictures.paint(pictures.weight).T.view(barycentric.shape)
        depth[:] = pictures.paint(pictures.mean(pictures.seen[2:])).view(depth.shape)

    recorded = any(map(is_live, (pos, *cameras)))
    with _threads(pos, recorded) as threads:
        parts, shapes = _parts(pos, face, cameras, batch, None, size, budget, threads)
        shape = (shapes, len(cameras.eye), size, size)
        out = face.new_empty(shape), pos.new_empty(*shape, 3), pos.new_empty(shape)
        return Raster(*_each(draw, parts, threads, recorded, *out))


def _parts(
    pos: Tensor,
    face: Tensor,
    cameras: Cameras,
    batch: Tensor | None,
    color: Tensor | None,
    size: int,
    budget: int,
    threads: int,
) -> tuple[list[Part], int]:
    """Shapes and cameras in parts of about `budget` triangles and pixels; the number of shapes."""
    _check(pos, face, batch, color)
    if batch is None:
        batch = face.new_zeros(len(pos))
    n = len(cameras.eye)
    vertices = batch.bincount().tolist()
    faces = batch.index_select(0, face[0]).bincount(minlength=len(vertices)).tolist()
    # Equal parts for all threads, but none so small that its many steps cost more than their work.
    work = n * (face.shape[1] + len(vertices) * size * size)
    budget = max(min(2**16, budget), math.ceil(work / (threads * math.ceil(work / (threads * budget)))))
    pos, face = pos.double(), face.contiguous()
    eye, axes = cameras.eye.to(pos), cameras.axes.to(pos)
    if isinstance(cameras.focal, Tensor):  # as a matrix of each camera's own, all of whose derivatives are taken
        focal = cameras.focal.to(pos).expand(n)
        axes = axes * torch.stack([focal, focal, torch.ones_like(focal)], 1)[:, :, None]
        cameras = cameras._replace(focal=1.0)
    color = None if color is None else color.double()
    parts = []
    begin = v = f = 0
    room = 0.0
    while begin < len(vertices):
        stop, cost = begin, 0
        room += budget / n
        while stop < len(vertices) and (stop == begin or cost + faces[stop] + size * size <= room):
            cost += faces[stop] + size * size
            stop += 1
        room = max(0.0, room - cost)  # what does not fill up a part is for the next, so that the last is no smaller
        vs = slice(v, v + sum(vertices[begin:stop]))
        fs = slice(f, f + sum(faces[begin:stop]))
        views = n if stop > begin + 1 else min(n, max(1, budget // cost))
        for first in range(0, n, views):
            some = slice(first, min(first + views, n))
            scene = Scene(
                pos[vs],
                face[:, fs] - v,
                batch[vs] - begin,
                None if color is None else color[vs],
                stop - begin,
                cameras._replace(eye=eye[some], axes=axes[some]),
            )
            parts.append(Part(scene, slice(begin, stop), some, f))
        begin, v, f = stop, vs.stop, fs.stop
    return parts, len(vertices)


def _budget(pos: Tensor) -> int:
    """Enough for each step to be worth its call, and on a CPU not so much that a thread fills its heap (see `_each`)."""
    return 3 * 2**17 if pos.device.type == "cpu" else 2**24


@contextmanager
def _threads(pos: Tensor, recorded: bool) -> Iterator[int]:
    """How many parts to draw at once: on a CPU one on each of torch's threads, where a derivative is not recorded.

    Their many small steps are best not split further. Neither is what comes before: for some milliseconds after that
    OpenMP's threads would wait for more in a loop, on the processors that are to draw.
    """
    if pos.device.type != "cpu" or recorded:
        yield 1
        return
    with cotan.one_thread():
        yield cotan.threads()


def _each(draw: Callable[..., None], parts: list[Part], threads: int, recorded: bool, *out: Tensor) -> Sequence[Tensor]:
    """Draw the parts, some at once, into their places in `out`.

    What is recorded is put together afterwards: the derivative of a part written into `out` would be as large as that.
    """
    targets = [[whole[part.shapes, part.views] for whole in out] for part in parts]
    if recorded:
        targets = [[torch.empty_like(place) for place in target] for target in targets]
    # A block of this size, once freed (it is not even touched), tells glibc to keep freed memory up to 64 MB;
    # otherwise each of the many arrays of a few MB comes from the system anew, page by page. More than that
    # (a thread's heap has 64 MB) is given back and taken again all the same.
    torch.empty(2**25 - 2**16, dtype=torch.uint8)
    threads = min(len(parts), threads)
    if threads == 1:
        for part, target in zip(parts, targets, strict=True):
            draw(part, *target)
    else:
        inference = torch.is_inference_mode_enabled()  # known to a thread only

        def alone(part: Part, target: Sequence[Tensor]) -> None:
            with torch.inference_mode(inference):
                draw(part, *target)

        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(alone, parts, targets))
    if not recorded:
        return out
    pictures = zip(*([place.flatten(0, 1) for place in target] for target in targets), strict=True)
    return [torch.cat(of_parts).view_as(whole) for of_parts, whole in zip(pictures, out, strict=True)]


def _tensors(cameras: Cameras, **values: Tensor | None) -> None:
    if not isinstance(cameras, Cameras):
        raise cotan.CotanError(f"cameras are what `cameras` gives; got {cameras!r}")
    eye, axes = cameras.eye, cameras.axes
    right = isinstance(eye, Tensor) and isinstance(axes, Tensor) and eye.shape[1:] == (3,) and len(eye) > 0
    if not right or axes.shape != (len(eye), 3, 3) or not (eye.isfinite().all() and axes.isfinite().all()):
        raise cotan.CotanError(
            f"cameras have eye (N, 3) and axes (N, 3, 3), finite and of one at least; got {said(eye)} and {said(axes)}"
        )
    focal = cameras.focal
    if isinstance(focal, Tensor) and not (focal.shape in ((), (len(eye),)) and focal.isfinite().all()):
        raise cotan.CotanError(f"focal is a finite number, or one for each of {len(eye)} cameras; got {said(focal)}")
    for name, value in values.items():
        if not isinstance(value, Tensor) and (value is not None or name in ("pos", "face")):
            raise cotan.CotanError(f"{name} is a tensor; got {type(value).__name__}")


def _check(pos: Tensor, face: Tensor, batch: Tensor | None, color: Tensor | None) -> None:
    if pos.dim() != 2 or pos.shape[1] != 3 or not pos.is_floating_point() or not pos.isfinite().all():
        raise cotan.CotanError(f"pos is (V, 3), real and finite; got {pos.dtype} of shape {tuple(pos.shape)}")
    if face.dim() != 2 or face.shape[0] != 3 or face.dtype != torch.int64 or face.shape[1] == 0:
        raise cotan.CotanError(f"face is (3, F), int64, of at least one; got {face.dtype} of shape {tuple(face.shape)}")
    check_range("face", face, len(pos))
    if batch is not None:
        counts = batch.shape == pos.shape[:1] and batch.dtype in (torch.int32, torch.int64) and int(batch.min()) >= 0
        of_face = batch[face] if counts else face  # (3, F)
        if not counts or (batch.diff() < 0).any() or (of_face.diff() < 0).any() or (of_face != of_face[0]).any():
            raise cotan.CotanError("batch is the number of each vertex's shape, and shapes, with their faces, ascend")
    if color is not None and (color.dim() != 2 or len(color) != len(pos) or not color.isfinite().all()):
        raise cotan.CotanError(f"color is (V, K), V = {len(pos)}, and finite; got shape {tuple(color.shape)}")


def _softness(softness: float, outputs: Sequence[str]) -> float:
    if not isinstance(softness, int | float) or not softness >= 0 or not math.isfinite(softness):
        raise cotan.CotanError(f"softness is a number of pixels from 0; got {softness!r}")
    if softness and "silhouette" not in outputs:
        raise cotan.CotanError(f"softness is that of the output 'silhouette', which is not in {tuple(outputs)}")
    return softness
