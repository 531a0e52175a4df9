"""Kernels that one forward and backward of a layer launches on a GPU, and the bytes they read and write: ours beside PyG's.

    python tests/benchmarks/count_kernels.py [--graph mesh] [--only gat]

Without a GPU it is the pretended one, with stand-ins for Triton's kernels. A kernel's bytes are those of its arguments and
results, each once: what is gathered again comes from the cache at best. Views are free. `least ms` is what an H200 takes at
4 TB/s and 5 us a kernel: no time that was measured.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from bench_layers import LAYERS, SIZES, graph, pair
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cotan import kernels
from cotan.testing import another_device

VIEWS = "detach alias view _unsafe_view t transpose permute expand slice select unsqueeze squeeze split split_with_sizes unbind"
MADE = "empty empty_like empty_strided new_empty new_empty_strided lift_fresh as_strided _reshape_alias diagonal"
FREE = {*VIEWS.split(), *MADE.split()}
BANDWIDTH, LAUNCH = 4e12, 5e-6


class Kernel(NamedTuple):
    name: str
    bytes: int


class Count(TorchDispatchMode):
    """The kernels that are launched, those of `cotan.triton_kernels` by `call`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Kernel] = []
        self.inside = False

    def add(self, name: str, given: Any, out: Any) -> None:
        read = {id(t): t for t in _tensors(given) if t.device.type != "cpu"}
        written = [t for t in _tensors(out) if t.device.type != "cpu"]
        if (read or written) and not self.inside:
            self.found.append(Kernel(name, sum(map(_bytes, [*read.values(), *written]))))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in FREE:
            self.add(func.overloadpacket.__name__, args, out)
        return out

    def call(self, name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def counted(*args: Any, **kwargs: Any) -> Tensor:
            args = tuple(a.contiguous() if isinstance(a, Tensor) else a for a in args)
            self.inside, before = True, self.inside
            out = function(*args, **kwargs)
            self.inside = before
            self.add(name, [*args, kwargs.get("out") if kwargs.get("less") else None], out)
            if name in ("total", "each") and len(args[1]) >= MANY:
                self.found.append(Kernel("join", 0))
            return out

        return counted


MANY = 2**14  # as in `triton_kernels`, which imports Triton


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _bytes(t: Tensor) -> int:
    """Of what is expanded once."""
    sizes = [size for size, stride in zip(t.shape, t.stride(), strict=True) if stride or not size]
    return int(torch.Size(sizes).numel()) * t.element_size()


class StandIns:
    """What `triton_kernels` gives, by torch."""

    @staticmethod
    def total(
        pointer: Tensor, index: Tensor, v: Any, x: Tensor, *, each: bool = False, out: Any = None, less: bool = False
    ) -> Tensor:
        messages = x.index_select(0, index)
        if v is not None:
            messages = v.unflatten(-1, (-1, 1)) * messages
        if x.ndim == 3 and not each:
            messages = messages.sum(1)
        y = torch.segment_reduce(messages.flatten(1), "sum", offsets=pointer.long(), unsafe=True).unflatten(
            1, messages.shape[1:]
        )
        return y if out is None else torch.sub(y, out, out=out) if less else out.copy_(y)

    @staticmethod
    def each(pointer: Tensor, index: Tensor, v: Tensor, x: Tensor) -> Tensor:
        return StandIns.total(pointer, index, v, x[:, None].expand(-1, v.shape[1], -1), each=True)

    @staticmethod
    def sampled(row: Tensor, col: Tensor, a: Tensor, b: Tensor) -> Tensor:
        a, b = a.index_select(0, row), b.index_select(0, col)
        if a.ndim != b.ndim:
            a, b = (t if t.ndim == 3 else t[:, None] for t in (a, b))
        return (a * b).sum(-1)

    @staticmethod
    def softmax(pointer: Tensor, s: Tensor) -> Tensor:
        counts = pointer.diff().long()

        def spread(rows: Tensor) -> Tensor:
            return rows.repeat_interleave(counts, 0, output_size=len(s))

        e = (s - spread(torch.segment_reduce(s, "max", offsets=pointer.long(), unsafe=True))).exp()
        return e / spread(torch.segment_reduce(e, "sum", offsets=pointer.long(), unsafe=True))


@contextmanager
def counting() -> Iterator[list[Kernel]]:
    """The kernels launched inside."""
    count = Count()
    own = kernels.triton_runs() if torch.cuda.is_available() else StandIns
    names = ("total", "each", "sampled", "softmax")
    module = own and type("Counted", (), {name: staticmethod(count.call(name, getattr(own, name))) for name in names})
    with (
        patch.object(kernels, "_triton", lambda x, weights=None: module if x.is_cuda and not count.inside else None),
        count,
    ):
        yield count.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", choices=SIZES, action="append")
    parser.add_argument("--only", default="", help="those whose name contains this")
    args = parser.parse_args()
    with another_device() as device, patch.object(torch.cuda, "synchronize", lambda *_: None):
        for size in args.graph or SIZES:
            print(f"\n{size:22}{'kernels':>9}{'MiB':>9}{'least ms':>10}{'PyG':>14}{'MiB':>9}{'least ms':>10}")
            for name in (name for name in LAYERS if args.only in name):
                line = f"{name:22}"
                data = graph("power, quarter" if size == "power" and "gaussian" in name else size).to(device)
                for side, width in zip(pair(name, data), (9, 14), strict=True):
                    side()
                    with counting() as found:
                        side()
                    least = sum(k.bytes / BANDWIDTH + LAUNCH for k in found)
                    line += f"{len(found):{width}}{sum(k.bytes for k in found) / 2**20:9.1f}{1e3 * least:10.3f}"
                print(line, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="cotan-bench-") as cache:
        os.environ.setdefault("COTAN_CACHE", cache)
        main()
