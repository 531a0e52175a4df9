"""Citation graphs with the splits of Yang et al. 2016: one graph, a class for each paper."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cotan
from cotan.errors import one_of

from .raw import raw_folder

NAMES = ("Cora", "CiteSeer", "PubMed")
MASKS = ("public", "full", "random")
PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
# What the pickles of arrays, matrices and links are made of, by the names of old and new versions.
PLAIN = re.compile(
    r"numpy(\._?core\.(multiarray|numeric))? (ndarray|dtype|scalar|_reconstruct|_frombuffer)"
    r"|scipy\.sparse(\._?(csr|csc|coo|lil))? (csr|csc|coo|lil)_(matrix|array)|collections (defaultdict|OrderedDict)"
    r"|(__builtin__|builtins) (list|set|object)|copy_?reg _reconstructor|_codecs encode"
)


@cotan.dataset("planetoid")
def planetoid(
    *, name: str = "Cora", root: str = "", masks: str = "public", normalize: bool = True, seed: int = 0
) -> cotan.Splits:
    """A citation graph: x (V, C) words of each paper, edges both ways, a class for each; a mask for each split.

    Arguments:
        name: Cora, CiteSeer or PubMed.
        root: the folder of the raw files ind.cora.x, ...; by default they are downloaded to the cache. They are Python
            pickles, which may run code when read: what names anything but arrays, sparse matrices and dicts is refused.
        masks: "public", 20 papers of each class to train, 500 val, 1000 test; "full", all others to train; "random", sizes
            as in public, drawn by `seed`. CiteSeer's 15 papers without words, links and class are in none.
        normalize: each row of x is divided by its sum, as in Kipf and Welling 2017.
    """
    from torch_geometric.data import Data
    from torch_geometric.datasets import Planetoid
    from torch_geometric.io import read_planetoid_data

    one_of("name of planetoid", name, NAMES)
    one_of("masks of planetoid", masks, MASKS)
    files = [f"ind.{name.lower()}.{part}" for part in PARTS]
    folder = raw_folder("planetoid", name, files, root=root, fetch=lambda to: Planetoid(to, name), source=Planetoid.url)
    with warnings.catch_warnings():  # of pickles of old versions of numpy and scipy
        warnings.simplefilter("ignore")
        _check(folder, name)
        whole = read_planetoid_data(str(folder), name)
    x = whole.x
    if normalize:
        total = x.sum(1, keepdim=True)
        x = x / torch.where(total == 0, 1, total)  # papers without words stay zero
    chosen = {"train": whole.train_mask, "val": whole.val_mask, "test": whole.test_mask}
    # The papers of the test come last; those between them that it leaves out have no class, and 0 for y.
    labelled = whole.test_mask | (torch.arange(len(x)) < int(whole.test_mask.int().argmax()))
    if masks == "full":
        chosen["train"] = labelled & ~(whole.val_mask | whole.test_mask)
    if masks == "random":
        chosen = _drawn(whole.y, labelled, seed)
    lists = {
        part: [Data(x=x, edge_index=whole.edge_index, y=whole.y, mask=mask, num_nodes=len(x))]
        for part, mask in chosen.items()
    }
    return cotan.Splits(**lists, classes=tuple(str(i) for i in range(int(whole.y.max()) + 1)), task="label")


def _check(folder: Path, name: str) -> None:
    """Raise, with its name, where a file is damaged; PyG takes a test.index that lost lines for another order."""
    from torch_geometric.io.planetoid import read_file

    for part in PARTS:
        path = folder / f"ind.{name.lower()}.{part}"
        try:
            if part != "test.index":
                _unpickle(path)
            values = read_file(str(folder), name, part)
        except Exception as reason:  # a damaged pickle raises anything
            raise cotan.CotanError(f"planetoid: {path} cannot be read: {type(reason).__name__}: {reason}") from reason
        if part == "tx":
            papers = len(values)
        if part == "test.index" and len(values.unique()) != papers:
            found = f"{len(values.unique())} different numbers, each with a line end"
            raise cotan.CotanError(f"planetoid: {path} has {found}, expected {papers}, the papers in {name}'s tx")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not PLAIN.fullmatch(f"{module} {name}"):
            raise pickle.UnpicklingError(f"it names {module}.{name}, expected arrays, sparse matrices and dicts")
        return super().find_class(module, name)


def _unpickle(path: Path) -> None:
    """Raise for a pickle that names anything else, or a matrix whose pointers lead out of it: PyG would follow both."""
    with path.open("rb") as file:
        values = _Unpickler(file, encoding="latin1").load()
    if getattr(values, "format", None) in ("csr", "csc"):
        values.check_format(full_check=True)


def _drawn(y: Tensor, labelled: Tensor, seed: int) -> dict[str, Tensor]:
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[labelled[order]]
    train = torch.cat([order[y[order] == label][:20] for label in range(int(y.max()) + 1)])
    rest = order[~torch.isin(order, train)]
    parts = {"train": train, "val": rest[:500], "test": rest[500:1500]}
    return {part: torch.zeros(len(y), dtype=torch.bool).index_fill(0, places, True) for part, places in parts.items()}
