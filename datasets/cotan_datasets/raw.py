"""Where the raw files of a public dataset lie: in a folder of the user's, or in the cache, which a download fills."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cotan
from cotan.processes import cache_folder


def raw_folder(
    kind: str, name: str, files: Sequence[str], *, root: str, fetch: Callable[[str], object], source: str
) -> Path:
    """The folder that holds all of `files`, each plain or with .gz; of "A or B", one of the two.

    Arguments:
        kind, name: of the reader and of the dataset.
        root: looked into, and into its raw, NAME and NAME/raw. Without it, $COTAN_DATA/KIND and the cache are, and
            what is in neither is downloaded to the cache. Nothing is ever written into root or $COTAN_DATA.
        fetch: downloads to NAME/raw in a folder. source: from where, for messages.
    """
    if Path(name).name != name:
        raise cotan.CotanError(f"{kind}: name={name!r}, expected the name of a set, without folders")
    own, cache = os.environ.get("COTAN_DATA"), cache_folder() / "downloads" / kind
    bases = [Path(root).expanduser()] if root else [*([Path(own).expanduser() / kind] if own else []), cache]
    places = [p for base in bases for p in (base, base / "raw", base / name, base / name / "raw")]
    missing = {place: [file for file in files if not _there(place / file)] for place in places}
    for place in places:
        if not missing[place]:
            return place
    if not root:
        return _download(kind, name, files, cache, fetch, source)
    if not Path(root).expanduser().is_dir():
        raise cotan.CotanError(f"{kind}: root={root!r} is no folder; expected one with {', '.join(files)} of {name}")
    best = min(places, key=lambda place: len(missing[place]))
    raise cotan.CotanError(
        f"{kind}: {best} has no {', '.join(missing[best])}; expected {len(files)} files ({', '.join(files)}) of {name} "
        f"in root={root!r}, or in its raw, {name} or {name}/raw"
    )


def _download(
    kind: str, name: str, files: Sequence[str], cache: Path, fetch: Callable[[str], object], source: str
) -> Path:
    """Into a folder beside its place first, so that what is in its place is whole."""
    target = cache / name / "raw"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as temporary:
            fetch(temporary)
            for file in (Path(temporary) / name / "raw").iterdir():
                file.replace(target / file.name)
    except Exception as reason:  # a network's and an archive's failures are of any kind
        raise cotan.CotanError(
            f"{kind}: {name} could not be downloaded from {source} ({type(reason).__name__}: {reason}). "
            f"Put {', '.join(files)} into {target}, or into a folder of your own and give it as root"
        ) from reason
    left = [file for file in files if not _there(target / file)]
    if left:
        raise cotan.CotanError(f"{kind}: what {source} gave for {name} has no {', '.join(left)}")
    return target


def _there(path: Path) -> bool:
    names = path.name.split(" or ")
    return any(path.with_name(f"{name}{end}").is_file() for name in names for end in ("", ".gz"))
