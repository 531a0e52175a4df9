import math

import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.fourier import fourier
from cotan.operators.functional_map import (
    align_spectra,
    from_point_map,
    functional_map,
    landmark_values,
    nearest_by_products,
    point_map,
    zoom_out,
)
from cotan.operators.heat_kernel_signature import heat_kernel_signature
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.operators.neighbours import nearest
from cotan.operators.wave_kernel_signature import wave_kernel_signature
from cotan.spectrum import Spectrum


def spectrum(pos, face, k=30):
    mass = barycentric_mass(pos, face)
    root = mass.rsqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * cotan_laplacian(pos, face).to_dense() * root)
    return Spectrum(values[:k], (root[:, None] * vectors)[:, :k]), mass


@pytest.fixture
def pair(bumpy):
    """A shape and a copy with its vertices shuffled and its eigenvectors' signs changed: `order` is the true map."""
    pos, face = bumpy()
    source, mass = spectrum(pos, face)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(pos), generator=generator)
    signs = torch.where(torch.rand(30, generator=generator) < 0.5, -1.0, 1.0)
    return source, mass, Spectrum(source.values, source.vectors[order] * signs), mass[order], order


def test_landmarks_find_the_whole_map(pair):
    source, mass, target, target_mass, order = pair
    places = torch.tensor([3, 40, 77])
    here = torch.argsort(order)[places]
    C = functional_map(
        source, target, mass, target_mass, landmark_values(source, places), landmark_values(target, here)
    )
    assert torch.equal(point_map(C, source, target), order)
    torch.testing.assert_close(C.abs(), torch.eye(30, dtype=C.dtype), rtol=0, atol=1e-2)


def test_descriptors_and_zoom_out(pair):
    source, mass, target, target_mass, order = pair

    def describe(s):
        return torch.cat([heat_kernel_signature(s), wave_kernel_signature(s)], 1)

    few = functional_map(
        source.first(12), target.first(12), mass, target_mass, describe(source), describe(target), commute=1e-4
    )
    full = zoom_out(few, source, target, target_mass)
    assert full.shape == (30, 30)
    assert (point_map(full, source, target) == order).double().mean() > 0.99


@pytest.mark.parametrize("commute", [0.0, 0.7])
def test_no_map_has_less_energy(pair, commute):
    source, mass, target, target_mass, _ = pair
    source, target = source.first(9), target.first(7)
    generator = torch.Generator().manual_seed(2)
    here, there = (torch.randn(len(mass), 12, dtype=torch.float64, generator=generator) for _ in range(2))
    there[:, 3] *= 1e3  # the size of a descriptor plays no part
    C = functional_map(source, target, mass, target_mass, here, there, commute=commute)
    a, b = fourier(here, source, mass), fourier(there, target, target_mass)
    a, b = (c / torch.linalg.vector_norm(c, dim=0) for c in (a, b))
    gap = (target.values[:, None] - source.values) / max(source.values[-1], target.values[-1])  # areas are equal

    def energy(C):
        return (C @ a - b).square().sum() + commute * a.square().sum() * (C * gap).square().sum()

    slope = torch.func.grad(energy)(C)
    assert slope.abs().max() < 1e-9
    assert energy(1.01 * C) > energy(C) < energy(0.99 * C)


@pytest.mark.parametrize("unit", [1e-3, 100.0])
def test_units_play_no_part(unit, pair):
    """To a shape that is r times as large the map is r C, and leads to the same vertices."""
    source, mass, target, target_mass, order = pair
    places = torch.tensor([3, 40, 77])
    here, there = landmark_values(source, places), torch.argsort(order)[places]
    large, large_mass = Spectrum(target.values / unit**2, target.vectors / unit), target_mass * unit**2
    C = functional_map(source, target, mass, target_mass, here, landmark_values(target, there))
    other = functional_map(source, large, mass, large_mass, here, landmark_values(large, there))
    torch.testing.assert_close(other, unit * C)
    assert torch.equal(point_map(other, source, large), order)
    full = zoom_out(other[:12, :12], source, large, large_mass)
    torch.testing.assert_close(full, from_point_map(order, source, large, large_mass))


@pytest.mark.parametrize("commute", [1e-5, 1e-3])
def test_float32_is_close_to_float64(pair, commute):
    source, mass, target, target_mass, order = pair
    here, there = (landmark_values(s, p) for s, p in ((source, torch.tensor([3])), (target, torch.argsort(order)[[3]])))
    exact = functional_map(source, target, mass, target_mass, here, there, commute=commute)
    few = [s.to(dtype=torch.float32) for s in (source, target)] + [t.float() for t in (mass, target_mass, here, there)]
    near = functional_map(*few, commute=commute)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near.double(), exact, rtol=0, atol=1e-2)


def test_fewer_descriptors_than_pairs_without_the_commuting_term(pair):
    source, mass, target, target_mass, order = pair
    one = torch.linspace(0, 1, len(mass), dtype=torch.float64)[:, None].sin()
    C = functional_map(source, target, mass, target_mass, one, one[order], commute=0)
    assert torch.isfinite(C).all()
    a, b = fourier(one, source, mass), fourier(one[order], target, target_mass)
    torch.testing.assert_close(C @ a, b, rtol=1e-6, atol=1e-6)


def test_landmarks_are_columns_of_the_heat_kernel(bumpy):
    pos, face = bumpy(1)
    s, mass = spectrum(pos, face, len(pos))
    found = landmark_values(s, torch.tensor([5, 11]), size=2)
    generator = cotan_laplacian(pos, face).to_dense() / mass[:, None]
    kernels = [torch.matrix_exp(-generator / t) / mass for t in (s.values[-1], s.values[1])]
    torch.testing.assert_close(found, torch.stack([k[:, p] for p in (5, 11) for k in kernels], 1))


def test_a_function_is_carried_over(pair):
    source, mass, target, target_mass, order = pair
    C = from_point_map(order, source, target, target_mass)
    f = source.vectors @ torch.linspace(1, 2, 30, dtype=torch.float64)
    torch.testing.assert_close(C @ fourier(f, source, mass), fourier(f[order], target, target_mass))


def test_aligned_coefficients_agree(pair):
    source, _, target, target_mass, order = pair
    generator = torch.Generator().manual_seed(1)
    mix = torch.linalg.qr(torch.randn(30, 30, dtype=torch.float64, generator=generator))[0]
    mixed = Spectrum(target.values, target.vectors @ mix)
    aligned = align_spectra(from_point_map(order, source, mixed, target_mass), source, mixed)
    torch.testing.assert_close(aligned.vectors, source.vectors[order])
    gram = aligned.vectors.T @ (target_mass[:, None] * aligned.vectors)
    torch.testing.assert_close(gram, torch.eye(30, dtype=torch.float64))


def test_aligned_values_are_those_of_the_source_up_to_sign(pair):
    source, _, target, target_mass, order = pair
    aligned = align_spectra(from_point_map(order, source, target, target_mass), source, target)
    torch.testing.assert_close(aligned.values, source.values)


def test_refusals(pair):
    source, mass, target, target_mass, _ = pair
    with pytest.raises(CotanError, match=r"expected descriptors \(V1, D\) and \(V2, D\)"):
        functional_map(source, target, mass, target_mass, mass[:, None], target_mass[:, None].repeat(1, 2))
    with pytest.raises(CotanError, match="expected a square map of at most 30 pairs"):
        align_spectra(torch.eye(30, dtype=torch.float64)[:20], source, target)
    for few, others in ((source.first(20), target), (source, target.first(20))):
        with pytest.raises(CotanError, match=r"expected a square map of at most 20 pairs, got \(30, 30\)"):
            align_spectra(torch.eye(30, dtype=torch.float64), few, others)


def test_what_would_be_a_wrong_map_is_refused(pair):
    source, mass, target, target_mass, order = pair
    values = landmark_values(source, [3, 40])
    for wrong in (values * 0, values * math.nan):
        with pytest.raises(CotanError, match="functional_map: descriptors that are zero or not finite"):
            functional_map(source, target, mass, target_mass, wrong, values[order])
    with pytest.raises(CotanError, match="not finite"):
        functional_map(source, target, mass, target_mass, values, values[order] * math.nan)
    with pytest.raises(CotanError, match="commute=-1, expected a number of at least 0"):
        functional_map(source, target, mass, target_mass, values, values[order], commute=-1)
    for size in ((31, 30), (30, 31), (30,)):
        with pytest.raises(CotanError, match=r"expected a map \(K2, K1\) of at most \(30, 30\) pairs"):
            point_map(torch.ones(size).double(), source, target)
    with pytest.raises(CotanError, match="expected a map of finite numbers"):
        zoom_out(torch.full((5, 5), math.nan).double(), source, target, target_mass)
    with pytest.raises(CotanError, match="landmark_values: vertices out of range: vertex numbers -1 to 3"):
        landmark_values(source, torch.tensor([3, -1]))  # the last vertex, were it an index
    with pytest.raises(CotanError, match="zoom_out: landmarks out of range: vertex numbers -1 to 3"):
        zoom_out(torch.eye(5).double(), source, target, target_mass, landmarks=torch.tensor([[0, 1], [3, -1]]))
    with pytest.raises(CotanError, match=r"zoom_out: expected landmarks \(2, P\), got \(3, 2\)"):
        zoom_out(torch.eye(5).double(), source, target, target_mass, landmarks=torch.ones(3, 2).long())
    with pytest.raises(CotanError, match="from_point_map: point out of range: vertex numbers -1 to"):
        from_point_map(order - 1, source, target, target_mass)
    batch = Spectrum.block_diagonal([source, target])
    masses, both = torch.cat([mass, target_mass]), torch.cat([values, values[order]])
    for spectra in ((batch, batch), (batch, source), (source, batch)):
        where = [(masses, both) if s is batch else (mass, values) for s in spectra]
        with pytest.raises(CotanError, match="expected the spectrum of one shape, got that of a batch"):
            functional_map(*spectra, *(m for m, _ in where), *(v for _, v in where))


def test_maps_of_other_forms_are_refused(pair):
    source, _, target, target_mass, order = pair
    with pytest.raises(
        CotanError, match=r"expected a vertex of the source for each of 162 vertices of the target, got \("
    ):
        from_point_map(order[:, None], source, target, target_mass)
    torch.testing.assert_close(
        from_point_map(order.int().numpy(), source, target, target_mass),
        from_point_map(order, source, target, target_mass),
    )
    with pytest.raises(
        CotanError, match=r"point_map: expected a map \(K2, K1\) of at most \(30, 30\) pairs, got \(0, 0\)"
    ):
        zoom_out(torch.zeros(0, 0).double(), source, target, target_mass)
    for of_map in (point_map, align_spectra):
        with pytest.raises(CotanError, match=r"a signal of torch\.float32 and a spectrum of torch\.float64"):
            of_map(torch.eye(5), source, target)
    with pytest.raises(CotanError, match="align_spectra: expected a map of finite numbers"):
        align_spectra(torch.full((5, 5), math.nan).double(), source, target)


def test_products_find_what_a_tree_finds():
    points, queries = torch.randn(300, 30, dtype=torch.float64), torch.randn(500, 30, dtype=torch.float64)
    assert torch.equal(nearest_by_products(points, queries), nearest(points, queries, 1)[1][:, 0])
