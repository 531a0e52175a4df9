import pytest
import torch

import cotan
from cotan_views.cameras import cameras
from cotan_views.render import render
from cotan_views.sheet import GAP, contact_sheet

from .shapes import knot

OUTPUTS = ("depth", "normals", "shaded", "silhouette", "position", "contours")


def test_a_sheet_holds_every_view_of_every_output(tmp_path):
    from matplotlib.image import imread

    views = render(*knot(), cameras(), size=20, outputs=OUTPUTS)[0]
    contact_sheet(views, tmp_path / "sheet.png", outputs=OUTPUTS, columns=5)
    image = torch.from_numpy(imread(tmp_path / "sheet.png")[..., :3].copy())
    cell = 20 + GAP
    assert image.shape == (6 * 3 * cell, 5 * cell, 3)
    silhouettes = image[9 * cell : 12 * cell].unfold(0, cell, cell).unfold(1, cell, cell)[..., :20, :20]
    torch.testing.assert_close(silhouettes.reshape(15, 3, 20, 20)[:12, 0], views[:, 5].float())
    assert (silhouettes.reshape(15, -1)[12:] == 1).all()  # the places left over are white
    depths = image[: 3 * cell].unfold(0, cell, cell).unfold(1, cell, cell)[..., :20, :20]
    assert depths[depths > 0].min() == pytest.approx(0.2, abs=0.01)  # the farthest is no darker, the background is
    nearest = views[0, 0].where(views[0, 0] > 0, 9).flatten().argmin()
    assert image[:20, :20, 0].flatten()[nearest] == image[:20, :20, 0].max()


def test_channels_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(cotan.CotanError, match=r"\(N, 4, H, W\).*got torch.float32 of shape \(12, 3, 8, 8\)"):
        contact_sheet(torch.zeros(12, 3, 8, 8), tmp_path / "sheet.png")
    for views, options, message in (
        (None, {}, "got NoneType"),
        (torch.zeros(0, 4, 8, 8), {}, r"got torch.float32 of shape \(0, 4, 8, 8\)"),
        (torch.zeros(2, 4, 8, 8), {"outputs": ("depth", "what")}, "unknown output 'what'"),
        (torch.zeros(2, 4, 8, 8), {"outputs": None}, "one or more of depth"),
        (torch.zeros(2, 4, 8, 8), {"columns": 0}, "columns=0, expected a whole number of at least 1"),
    ):
        with pytest.raises(cotan.CotanError, match=message):
            contact_sheet(views, tmp_path / "sheet.png", **options)


@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_level_views_are_drawn_and_no_place_is_left_over(value, tmp_path):
    from matplotlib.image import imread

    contact_sheet(torch.full((2, 4, 8, 8), float(value)), tmp_path / "sheet.png")
    image = imread(tmp_path / "sheet.png")[..., :3]
    assert image.shape == (2 * (8 + GAP), 2 * (8 + GAP), 3)
    assert (image[:8, :8] == value).all()
