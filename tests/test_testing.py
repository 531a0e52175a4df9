"""The test kit on plugins with typical mistakes: each fails with a sentence that says which."""

import pytest
import torch
from torch import nn

import cotan
from cotan import testing


class Base(nn.Module):
    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)


class OneDtype(Base):
    def forward(self, x, laplacian):
        return self.linear((laplacian @ x).float())


class Squares(Base):
    def forward(self, x, spectrum):
        return self.linear(spectrum.vectors**2 @ (spectrum.vectors.T @ x))


class InPlace(Base):
    def forward(self, x, mass):
        return self.linear(x.mul_(mass[:, None]))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (OneDtype, "OneDtype.forward failed in float64: RuntimeError: mat1 and mat2"),
        (Squares, r"Squares.forward failed .*of a batch, vectors are block-diagonal: they know @ and .T alone"),
        (InPlace, "InPlace.forward changes its input x in place"),
    ],
)
def test_a_mistake_in_a_layer(scratch, layer, message):
    cotan.layer("mistaken")(layer)
    with pytest.raises(AssertionError, match=message):
        testing.check_layer("mistaken", compile=False)


def flattening(pos):
    pos[:, 2] = 0
    return pos.clone()


def short(pos):
    return pos[:-1]


def forgetful(pos):
    pos.sum()


def numpys(pos):
    return pos.numpy()


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (flattening, "flattening changes its input pos in place"),
        (short, r"short on a mesh: declared per='vertex', but \(161, 3\) for 162 vertices"),
        (forgetful, "node 'forgetful' gives a NoneType, expected a tensor"),
        (numpys, "node 'numpys' gives a ndarray, expected a tensor"),
    ],
)
def test_a_mistake_in_an_operator(scratch, operator, message):
    cotan.operator(per="vertex")(operator)
    with pytest.raises(AssertionError, match=message):
        testing.check_operator(operator.__name__)


def test_a_value_of_no_known_kind_is_refused_where_it_is_computed(scratch, tetrahedron):
    cotan.operator(per="vertex")(numpys)
    assert isinstance(cotan.compute(tetrahedron, "mass"), torch.Tensor)
    with pytest.raises(cotan.CotanError, match="node 'numpys' gives a ndarray"):
        cotan.compute(tetrahedron, "numpys")
