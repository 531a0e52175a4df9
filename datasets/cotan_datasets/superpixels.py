"""Images as small graphs of superpixels. In numpy alone, for the processes that make them."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def superpixel_graph(
    image: Array, segments: int, compactness: float, edges: str, neighbours: int
) -> tuple[Array, Array, Array]:
    """Intensity (V, 1), centre (V, 2) and edges (2, E) of an image (H, W) of bytes, by SLIC.

    Intensities are from 0 to 1, centres (column, -row) in pixels.

    Arguments:
        segments: how many superpixels to aim at. compactness: of SLIC.
        edges: "nearest", to as many `neighbours`, or "touching".
    """
    from skimage.segmentation import slic

    bright = image / 255.0
    label = slic(bright, segments, compactness, channel_axis=None, start_label=0)
    size = np.bincount(label.ravel())
    row, column = (np.bincount(label.ravel(), place.ravel()) / size for place in np.indices(label.shape))
    mean = np.bincount(label.ravel(), bright.ravel()) / size
    centre = np.stack([column, -row], 1)
    pairs = _touching(label) if edges == "touching" else _nearest(centre, neighbours)
    return mean[:, None].astype(np.float32), centre.astype(np.float32), _both_ways(pairs)


def _touching(label: Array) -> Array:
    """Pairs (2, n) of superpixels that share a side of a pixel."""
    across = np.stack([label[:, :-1].ravel(), label[:, 1:].ravel()])
    down = np.stack([label[:-1].ravel(), label[1:].ravel()])
    pairs = np.concatenate([across, down], 1)
    return pairs[:, pairs[0] != pairs[1]]


def _nearest(centre: Array, neighbours: int) -> Array:
    """Pairs (2, n) of each point and its nearest others; of those as near, the one with the lower number."""
    distance = np.square(centre[:, None] - centre).sum(2).round(9)  # equal ones stay equal whatever the rounding
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, 1, kind="stable")[:, : min(neighbours, len(centre) - 1)]
    return np.stack([near.ravel(), np.repeat(np.arange(len(centre)), near.shape[1])])


def _both_ways(pairs: Array) -> Array:
    """Each pair once in each direction, sorted."""
    a, b = pairs.astype(np.int64)
    size = pairs.max(initial=0) + 1
    return np.stack(np.divmod(np.unique(np.concatenate([a * size + b, b * size + a])), size))
