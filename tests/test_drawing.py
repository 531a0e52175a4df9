from io import BytesIO

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan.colors import PALETTE, label_colors, vertex_colors
from cotan.drawing import shapes_png


def tiles(png, rows, columns):
    """(H, W, 4) of each place."""
    from matplotlib.image import imread

    image = imread(BytesIO(png))
    return [list(np.array_split(row, columns, axis=1)) for row in np.array_split(image, rows)]


def drawn(tile):
    return (np.ptp(tile[..., :3], axis=-1)[tile[..., 3] > 0.5] > 0.05).sum() > 0.02 * tile[..., 0].size


def test_rows_and_columns_with_places_left_free(sphere):
    rows = [[sphere, sphere, None], [None, sphere]]
    found = tiles(shapes_png(rows, ("a", "b", "c"), labels=("one", "two")), 2, 3)
    assert [[drawn(tile) for tile in row] for row in found] == [[True, True, False], [False, True, False]]


def test_own_colours_come_first(sphere):
    red = Data(pos=sphere.pos, face=sphere.face, part=torch.arange(len(sphere.pos)))
    red.color = torch.tensor([1.0, 0, 0]).expand(len(sphere.pos), 3)
    assert torch.equal(vertex_colors(red), red.color.double())
    ((tile,),) = tiles(shapes_png([[red]]), 1, 1)
    seen = tile[tile[..., 3] > 0.99]
    assert len(seen) > 1000
    assert seen[:, 1:3].max() < 0.1


SEEN = {  # linear RGB as it is seen, and with no green or no red cones (Machado, Oliveira and Fernandes 2009)
    "all": np.eye(3),
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


@pytest.mark.parametrize("cones", SEEN)
def test_the_colours_of_classes_are_told_apart_by_the_colour_blind(cones):
    rgb = label_colors(torch.arange(len(PALETTE))).numpy()
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt((linear @ np.transpose(SEEN[cones])).clip(0, 1) @ to_xyz.T / [0.9505, 1, 1.089]).T
    lab = np.stack([116 * y, 500 * (x - y), 200 * (y - z)], 1)  # CIE 1976, where 2.3 is just seen
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1) + 100 * np.eye(len(lab))
    assert apart.min() > 17, np.unravel_index(apart.argmin(), apart.shape)


@pytest.mark.parametrize("two", [True, False])
def test_examples_of_a_class_stand_below_its_name(sphere, monkeypatch, two):
    import cotan
    from cotan import report

    def shape(label):
        return Data(pos=sphere.pos, face=sphere.face, y=torch.tensor([label]))

    calls = []
    monkeypatch.setattr(report, "shapes_png", lambda rows, names, **_: calls.append((rows, names)) or b"")
    train = [shape(y) for y in (0, 3, 1) + (0, 1, 0) * two]  # 3 has one, 2 has none
    report._pictures(cotan.Splits(train, [], [], classes=("a", "b", "c", "d")))
    ((rows, names),) = calls
    assert names == ["a", "b", "d"]
    classes = [[None if s is None else int(s.y) for s in row] for row in rows]
    assert classes == [[0, 1, 3], [0, 1, None]][: 1 + two]


@pytest.mark.parametrize("name", ["a$^$b", r"$\frac$"])
def test_names_are_no_formulas(sphere, tmp_path, name):
    """matplotlib reads what stands between two $ as TeX, and raises for what is none."""
    shapes_png([[sphere]], [name], labels=[name])
    cotan.draw(sphere, tmp_path / "drawn.png", {name: sphere.pos[:, 0]})
