import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.checks import check_mesh, check_pos

POS = torch.eye(3)
FACE = torch.tensor([[0], [1], [2]])


@pytest.mark.parametrize(
    ("pos", "face", "message"),
    [
        (POS, FACE + 1, "face index out of range: it has vertex numbers 1 to 3, expected 0 to 2"),
        (POS, FACE - 1, "vertex numbers -1 to 1"),
        (POS, FACE[:, :0], "a mesh without faces"),
        (POS, FACE.T, r"face: expected shape \(3, F\), got \(1, 3\)"),
        (POS, FACE.double(), "integer vertex numbers, got torch.float64"),
        (POS[:, :2], FACE, r"pos: expected shape \(V, 3\), got \(3, 2\)"),
        (POS[:0], FACE, "without vertices"),
        (
            torch.tensor([[0.0, 0, 0], [0, float("nan"), 0], [0, 0, float("inf")]]),
            FACE,
            "2 of 3 .* the first is number 1",
        ),
    ],
)
def test_refusals(pos, face, message):
    with pytest.raises(CotanError, match=message):
        check_mesh(pos, face)


def test_types():
    pos, face = check_mesh(POS, FACE.int())
    assert pos.dtype == torch.float64
    assert face.dtype == torch.int64
    assert check_pos(POS.requires_grad_()).requires_grad
