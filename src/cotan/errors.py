"""The one exception that cotan raises for bad input, and the sentences it uses for unknown names and for numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, SupportsIndex

_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """A text with what would steer a terminal made visible: names and words of files are anyone's."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class CotanError(ValueError):
    """Bad input: the text says what was expected, what it got and what there is."""

    def __str__(self) -> str:
        return shown(super().__str__())


class Unregistered(CotanError):
    """There is nothing of that kind by that name."""


class MeshWarning(UserWarning):
    """What is wrong with a file that was read, is left out of it, or was repaired, in one line."""

    def __str__(self) -> str:
        return shown(super().__str__())


def expect(what: str, given: object, kinds: Any, words: str) -> None:
    """Raise unless `given` is an instance of `kinds`, which `words` name for people."""
    if not isinstance(given, kinds):
        raise CotanError(f"{what}: expected {words}, got {type(given).__name__}")


def at_least(least: int, what: str, /, **numbers: Any) -> None:
    """Raise for the first of `numbers` that is not a whole number, or is below `least`."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, SupportsIndex) or int(number) < least:
            raise CotanError(f"{what}: {name}={number!r}, expected a whole number of at least {least}")


def one_signal(x: Any) -> None:
    """Raise unless x, a tensor, is (V, C): for layers that would take a third axis for something else."""
    if x.ndim != 2:
        hint = "; several signals on one shape are a batch, cotan.inputs(layer, [shape] * B)" if x.ndim == 3 else ""
        raise CotanError(f"a signal of shape {tuple(x.shape)}, expected (V, C), a row for each vertex{hint}")


def said(value: Any) -> str:
    """A tensor's dtype and shape, or another value's type."""
    return f"{value.dtype} of shape {tuple(value.shape)}" if hasattr(value, "dtype") else type(value).__name__


# Our names of methods and options, and what else the field calls them, in small letters without dashes.
ALSO_KNOWN = {
    "gaussian": "monet gmm gmmconv",
    "chebyshev": "chebnet cheb chebconv",
    "cayley": "cayleynet",
    "coarsen": "graclus",
    "topk": "graphunet topkpooling",
    "gcn": "gcnconv graphconvolution",
    "sage": "graphsage sageconv",
    "gat": "gatconv",
    "gatv2": "gatv2conv",
    "gin": "ginconv",
    "sgc": "sgconv",
    "transformer": "transformerconv",
    "aggregate": "graphconv messagepassing",
    "edgeconv": "dynamicedgeconv dgcnn",
    "diffusion": "diffusionnet",
    "multiview": "mvcnn",
    "voxel": "voxnet",
    "voxel-dbn": "3dshapenets shapenets beliefnetwork",
    "spectral": "scnn spectralcnn",
    "laplacian": "laplace lbo laplacebeltrami cotangentlaplacian normalizedlaplacian stiffness stiffnessmatrix",
    "spectrum": "eigenbasis eigenvectors eigenfunctions eigs eigenvalues fiedlervector",
    "fourier": "fouriertransform graphfouriertransform gft",
    "heat_kernel_signature": "hks",
    "wave_kernel_signature": "wks",
    "global_point_signature": "gps",
    "logarithmic_map": "logmap",
    "gradient": "grad",
    "divergence": "div",
    "classify": "classification",
    "label": "segmentation segment",
    "match": "correspondence",
    "regress": "regression",
    "gauss_curvature": "gaussiancurvature",
    "mean_curvature": "principalcurvatures",
    "none": "linear identity",
    "width": "hiddenchannels hiddendim",
    "depth": "numlayers nlayers",
    "readout": "pooling",
    "lr": "learningrate",
    "patience": "earlystopping",
    "val_share": "valfraction valsplit valsize validationsplit",
    "weight_decay": "wd l2",
    "seed": "randomstate",
    "class_balance": "classweight classweights",
    "adjacency": "adj",
    "edge_index": "adjt",
    "ptr": "numgraphs batchsize",
}


def one_of(what: str, name: object, available: Iterable[str]) -> None:
    """Raise unless a name is one of those available."""
    if name not in (names := list(available)):
        raise unknown(what, name, names)


def unknown(what: str, name: object, available: Iterable[str]) -> CotanError:
    """`unknown layer 'heet'. Did you mean 'heat'? There is: ...`."""
    names = sorted(available)
    bare = re.sub(r"[\s_-]", "", str(name)).lower()
    alias = next((own for own, others in ALSO_KNOWN.items() if bare in others.split()), None)
    lower = {own.lower(): own for own in names}
    if alias in names:
        hint = f" Did you mean {alias!r} ({name})?"
    else:
        near = get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
        hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    if alias not in names and str(name).endswith("Conv"):
        hint = " If it is PyG's, a module of yours may have it as it is (docs/training.md)."
    return CotanError(f"unknown {what} {name!r}.{hint} There is: {', '.join(names) or 'none'}")


_MATRIX = "the matrix is a node: layer.needs = {'normalized_adjacency': 'adjacency'} gives it another (see cotan.needs)"
ELSEWHERE = {  # what an option of PyG's layers is here
    **dict.fromkeys(("add_self_loops", "normalize", "improved", "normalization"), _MATRIX),
    "cached": "what depends on the graph alone is computed once in any case",
    "aggr": "the layer 'aggregate' takes aggregate= and combine=",
    "edge_dim": "the layers 'aggregate', which takes edge_dim=, and 'gaussian' see edge_attr",
    "nn": "hidden= is its width; the layer 'aggregate' takes a module, combine=",
    "K": "terms are order=, steps hops=",
}


def unknown_option(what: str, name: str, available: Iterable[str]) -> CotanError:
    """`unknown`, and where it is an option of PyG's, what there is instead."""
    instead = ELSEWHERE.get(name)
    return CotanError(f"{unknown(what, name, available)}" + (f". As for PyG's {name}: {instead}" if instead else ""))
