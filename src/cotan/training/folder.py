"""The files of a run's folder beside its checkpoints: metrics.jsonl and run.json."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch.nn.parameter import is_lazy

from .. import atomic
from ..errors import CotanError
from . import checkpoint
from .make import describe
from .run import Run

FILES = ("last.safetensors", "last.json", "best.safetensors", "best.json", "metrics.jsonl", "run.json")
RESULTS = "results.jsonl"
DIGESTS = "digests.json"  # by dataset and seed, of its splits when it was last made
MAY_DIFFER = ("epochs", "patience", "device")
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # as some network drives have it
unlocked: set[int] = set()  # file systems of which it was said: a suite has many folders
AFRESH = "Without resume, it is put aside and training starts afresh"


def append(path: Path, line: Mapping[str, Any], sync: bool = True) -> None:
    """One line more of a .jsonl file, on the disk when this returns if `sync`. A line that a kill cut short is removed first."""
    text = json.dumps(line) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    last = path.read_bytes().rpartition(b"\n")[2]
                    try:
                        json.loads(last)
                        text = f"\n{text}"
                    except ValueError:
                        file.truncate(file.tell() - len(last))
            file.write(text.encode())
            if sync:
                atomic.to_disk(file)
    except OSError as reason:
        raise CotanError(
            f"{path} cannot be written: {reason.strerror or reason}. The lines before are whole"
        ) from reason


def rewrite(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    atomic.save(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


class InUse(CotanError):
    """Another process trains in a folder."""


@contextmanager
def alone(path: Path, timeout: float = 0) -> Iterator[None]:
    """A lock on a folder: no other process or thread is inside meanwhile. It can be nested, and ends with its process."""
    from filelock import FileLock, Timeout

    lock, made = FileLock(path / ".lock", timeout=timeout, is_singleton=True), not os.path.exists(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InUse(
            f"{path} is in use: another training writes there. Wait for its end, or give another folder"
        ) from None
    except (NotImplementedError, OSError) as reason:
        if isinstance(reason, OSError) and reason.errno not in NO_LOCKS:
            raise CotanError(f"{path} cannot be written: {reason.strerror or reason}") from reason
        if (device := os.stat(path).st_dev) not in unlocked:
            unlocked.add(device)
            text = (
                f"the file system of {path} has no locks: nothing keeps another training from writing there meanwhile"
            )
            warnings.warn(text, RuntimeWarning, stacklevel=3)
    try:
        yield
    finally:
        # Where nothing was written, no trace is left: while the lock is held, or it might be another's by now. A nested lock
        # belongs to the outer one, which removes it.
        with suppress(OSError):
            if lock.lock_counter < 2 and os.listdir(path) == [".lock"]:
                (path / ".lock").unlink()
                if made:
                    path.rmdir()
                made = False
        lock.release()  # on Windows this removes the file, which could not be while it was open
        with suppress(OSError):
            if made:
                path.rmdir()


def check_kind(path: Path, *, suite: bool) -> None:
    """Raise where a training is given the folder of a suite, or a suite that of a training. A folder that is both goes on."""
    # The others of their files have names that a caller may use for files of their own.
    run, results = (os.path.exists(path / name) for name in ("run.json", DIGESTS))
    if run != results and suite == run:
        raise CotanError(f"{path} holds {'a run of fit' if run else 'the results of a suite'}: expected another folder")


def write_run(run: Run) -> None:
    """run.json: all of a run but its weights."""
    assert run.path is not None
    record = {
        "status": run.status,
        "model": describe(run.model),
        "parameters": sum(p.numel() for p in run.model.parameters() if not is_lazy(p)),
        "dataset": run.dataset,
        "classes": list(run.classes),
        "recipe": run.recipe.record(),
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "metrics": run.metrics,
        "costs": run.costs,
        "versions": run.versions,
    }
    best = run.path / "best.safetensors"
    if run.status != "running" and best.exists():
        with open(best, "r+b") as file:
            atomic.to_disk(file)  # before what says that it is there
        record["checkpoint_sha256"] = checkpoint.sha256(best)
    atomic.save(run.path / "run.json", (json.dumps(record, indent=2) + "\n").encode())


def put_aside(path: Path) -> Path | None:
    """Moves an earlier run's files into a folder of their own: no finished result is overwritten."""
    there = [path / name for name in FILES if (path / name).exists()]
    if not there:
        return None
    number = 1  # of what is left where a kill cuts this short, nothing is resumed: last.safetensors goes first
    while (path / f"earlier-{number}").exists():
        number += 1
    aside = path / f"earlier-{number}"
    try:
        aside.mkdir(parents=True)
        for file in there:
            file.rename(aside / file.name)
    except OSError as reason:
        raise CotanError(f"the run in {path} cannot be put aside: {reason}") from reason
    return aside


class AnotherRun(CotanError):
    """A folder to be resumed holds another run."""


def check_same(path: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise where a run to be resumed was another one: model, what of it is frozen, recipe, data, names of classes, plan and
    the metric of the choice must be the same.
    """
    compared = ["recipe", "dataset", "classes", "plan", "chosen_by"]
    if "frozen" in stored:
        compared = ["model", "frozen", *compared]
    elif now["model"] is not None:  # a run of before says how its model was made, whatever of it was replaced since
        compared = ["model", *compared]
    for what in compared:
        a, b = (_flat(json.loads(json.dumps(record.get(what)))) for record in (stored, now))
        # What is in the shapes counts, not the folder that they were read from.
        for key in ["digest"] if what == "dataset" else sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key) and not (what == "recipe" and key in MAY_DIFFER):
                had = f"its {what} has {key}=" if key else f"{what}: "
                raise AnotherRun(f"{path} cannot be resumed: {had}{a.get(key)!r}, now it is {b.get(key)!r}. {AFRESH}")
    schedule, before, after = now["recipe"]["schedule"], stored["recipe"]["epochs"], now["recipe"]["epochs"]
    if after < stored["epoch"]:
        raise AnotherRun(f"{path} cannot be resumed: epochs={after}, and {stored['epoch']} are done. {AFRESH}")
    if before != after and schedule not in ("none", "step"):
        raise AnotherRun(
            f"{path} cannot be resumed: the learning rates of schedule={schedule!r} are those of epochs={before}, now it is "
            f"{after}. {AFRESH}"
        )


def _flat(record: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(record, Mapping):
        return {prefix: record}
    out: dict[str, Any] = {}
    for key, value in record.items():
        out |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out
