"""`cotan inspect` and the 32 smallest eigenpairs of every mesh below some folders, each in a process of its own.

A pair is checked against its definition by numpy alone, and that none is missed by the inertia of L - x M:

    python tests/benchmarks/sweep_meshes.py FOLDER ... [--limit 60]
"""

import argparse
import collections
import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import splu

import cotan
from cotan.cli import main
from cotan.files import MESHES, POINTS

K = 32


def inspect(path: Path) -> str:
    """What ends the command: "" or its one line."""
    with open("said", "w") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        sys.argv = ["cotan", "inspect", str(path), "--out", "picture.png"]
        try:
            main()
        except SystemExit as end:
            code = end.code
    lines = Path("said").read_text().splitlines()
    if code:
        return lines[-1]
    wrong = "nan" in lines[-2] or "inf" in lines[-2] or not Path("picture.png").stat().st_size
    return "WRONG: no numbers or no picture" if wrong else ""


def spectrum(path: Path) -> str:
    """What ends the computation: "", the refusal, or what of the definition fails."""
    warnings.simplefilter("ignore", cotan.MeshWarning)
    try:
        data = cotan.read(path, dtype=torch.float64)
        L, m = (cotan.compute(data, name, dtype=torch.float64) for name in ("laplacian", "mass"))
        s = cotan.compute(data, "spectrum", k=K, dtype=torch.float64)
    except cotan.CotanError as reason:
        return str(reason)
    L, m, values, phi = sp.csr_array(L.to_scipy()), m.numpy(), s.values.numpy(), s.vectors.numpy()
    zero = 1e-10 * np.median(L.diagonal() / m)
    first = min(values[values > zero], default=1e-4 * (L.diagonal() / m).mean())
    error = np.linalg.norm((L @ phi - m[:, None] * phi * values) / np.sqrt(m)[:, None], axis=0)
    wrong = [
        name
        for name, bad in {
            "count": phi.shape != (len(m), min(K, len(m))),
            "order": (np.diff(values) < 0).any() or values[0] < 0,
            "orthonormality": not abs(phi.T @ (m[:, None] * phi) - np.eye(len(values))).max() < 1e-7,
            "residual": not (error / np.maximum(values, first)).max() < 1.01e-6,
            "missed": values[-1] > zero and missed(L, m, values[-1] * (1 - 1e-6) - 1e-9 * first, values),
        }.items()
        if bad
    ]
    return f"WRONG: {', '.join(wrong)}" if wrong else ""


def missed(L: sp.csr_array, m: np.ndarray, x: float, values: np.ndarray) -> bool:
    """Whether M^-1/2 L M^-1/2 has other than the known number of eigenvalues below x."""
    A = sp.diags_array(m**-0.5) @ L @ sp.diags_array(m**-0.5) - x * sp.eye_array(len(m))
    if len(m) < 400:
        below = (np.linalg.eigvalsh(A.toarray()) < 0).sum()
    else:
        lu = splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, relax=1, options={"SymmetricMode": True})
        below = (lu.U.diagonal() < 0).sum()
    return bool(below != (values < x).sum())


def run(path: Path, answer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["COTAN_CACHE"] = folder
        try:
            answer.send((inspect(path), spectrum(path), time.process_time()))
        except BaseException as reason:
            answer.send((f"WRONG: {type(reason).__name__}: {reason}", "", time.process_time()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=float, default=60, help="seconds a file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(
        p.resolve()
        for f in options.folders
        for p in f.rglob("*")
        if p.suffix.lower() in (*MESHES, *POINTS) and p.is_file()
    )
    ends, slowest = collections.Counter(), (0.0, "")
    for path in files:
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=run, args=(path, there))
        process.start()
        answered = here.poll(options.limit)
        end = here.recv() if answered else ("WRONG: no end", "", options.limit)
        process.kill()
        process.join()
        for what, said in zip(("inspect", "spectrum"), end, strict=False):
            kind = "wrong" if said.startswith("WRONG") else "refused" if said else "result"
            ends[what, kind] += 1
            if said and (what == "inspect" or kind == "wrong"):
                print(f"{what} {kind}: {path}: {said}", flush=True)
        slowest = max(slowest, (end[2], str(path)))
    print(f"{len(files)} files:", *(f"{what} {kind} {n}" for (what, kind), n in sorted(ends.items())), sep="\n  ")
    print(f"longest {slowest[0]:.1f} s of one processor: {slowest[1]}")
