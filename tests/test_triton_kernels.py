"""The tests of sparse matrices again with Triton's kernels, in its interpreter on the CPU; and that a GPU's compiler takes them.

Triton reads TRITON_INTERPRET when it is imported, so each runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")
HERE = Path(__file__).parent
# Compiled code keeps to torch's operations.
# But what works in several threads, which it does only on a CPU: the interpreter takes one.
AGAIN = (
    "(dtype or wide or noncontiguous or forward_mode_is or no_entries or several or distribution) and not neighbours"
)

# Whether the kernels are taken, and not torch's path, which would pass the tests as well.
TAKEN = """
import sys, torch
from cotan.sparse import Sparse

i = torch.arange(2)
Sparse.from_coo(i, i, torch.ones(2), (2, 2)) @ torch.ones(2, 3)
print("cotan.triton_kernels" in sys.modules)
"""

COMPILE = """
import triton
from triton import language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from cotan import triton_kernels as T

SUM = {"EACH": False, "LESS": False, "PART": 256, "ENTRIES": 8}
KERNELS = [
    (T._sum_kernel, {**SUM, "WEIGHTED": True, "BLOCK": 64}),
    (T._sum_kernel, {**SUM, "WEIGHTED": False, "BLOCK": 128}),
    (T._sum_kernel, {**SUM, "WEIGHTED": True, "BLOCK": 64, "EACH": True, "LESS": True}),
    (T._each_kernel, {"SETS": 8, "BLOCK": 64, "PART": 256}),
    (T._join_kernel, {"BLOCK": 128, "PART": 256}),
    (T._sampled_kernel, {"A_SETS": True, "B_SETS": False, "ENTRIES": 32, "BLOCK": 64}),
    (T._softmax_kernel, {"ENTRIES": 32}),
]
KINDS = ("fp32", tl.float32, "i32"), ("bf16", tl.float32, "i32"), ("fp64", tl.float64, "i32"), ("fp32", tl.float32, "i64")
for number, acc, whole in KINDS:
    types = {name: f"*{whole}" for name in ("pointer", "index", "row", "col")}
    types |= {name: f"*{number}" for name in ("v", "x", "a", "b", "s", "out")} | {"parts": f"*{acc}"}
    for kernel, constants in KERNELS:
        constants = {**constants, "ACC": acc}
        signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names}
        source = ASTSource(kernel, signature, {(kernel.arg_names.index(k),): v for k, v in constants.items()})
        for capability in (75, 90) if (number, whole) == ("fp32", "i32") else (80,):  # T4, H100; A100
            assert "cubin" in triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm
"""


# A row beyond 2^31 entries, in memory of which only what is written is taken.
OFFSETS = """
import torch
from cotan import triton_kernels as T

x = torch.empty(2**29 + 3, 4, dtype=torch.float16)
last = torch.full((2,), len(x) - 1, dtype=torch.int32)
x[-1] = torch.arange(4)
pointer, one = torch.tensor([0, 2], dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float16)
assert T.total(pointer, last, None, x).tolist() == [[0, 2, 4, 6]]
assert T.each(pointer, last, weights, x).tolist() == [[[0, 4, 8, 12], [0, 6, 12, 18]]]
sets = x[1:].view(-1, 2, 4)
sets[-1, 0] = 1
at = torch.full((2,), len(sets) - 1, dtype=torch.int32)
assert T.total(pointer, at, weights, sets).tolist() == [[4, 10, 16, 22]]
row = torch.ones(1, 4, dtype=torch.float16)
assert T.sampled(last, one, x, row).tolist() == [6, 6]
assert T.sampled(one, at, row, sets).tolist() == T.sampled(at, one, sets, row).tolist() == [[4, 6], [4, 6]]
"""

# Rows that are cut into parts: the numbers are those of rows that are not, which are those of a dense matrix.
PARTS = """
import torch
from cotan import triton_kernels as T

T.PART = 4
g = torch.Generator().manual_seed(0)
for lengths in ([3, 0, 4, 5, 1, 13, 0, 2, 8, 0], [0, 9], [4, 17, 5]):
    lengths = torch.tensor(lengths)
    pointer = torch.cat([torch.zeros(1), lengths.cumsum(0)]).int()
    entries, rows = int(pointer[-1]), torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    index = torch.randint(0, 7, (entries,), generator=g).int()
    for dtype in (torch.float64, torch.bfloat16):
        x, v = torch.randn(7, 3, 5, generator=g).to(dtype), torch.randn(entries, 3, generator=g).to(dtype)
        before = torch.randn(len(lengths), 5, generator=g).to(dtype)
        messages = (v[..., None] * x[index.long()]).double()  # (E, J, C)
        one = (v[..., None] * x[index.long(), :1]).double()
        zeros = messages.new_zeros(len(lengths), 3, 5)
        calls = (
            (lambda: T.total(pointer, index, v, x), zeros.index_add(0, rows, messages).sum(1)),
            (lambda: T.total(pointer, index, v, x, each=True), zeros.index_add(0, rows, messages)),
            (lambda: T.each(pointer, index, v, x[:, 0]), zeros.index_add(0, rows, one)),
            (lambda: T.total(pointer, index, None, x[:, 0]), zeros[:, 0].index_add(0, rows, x[index.long(), 0].double())),
            (
                lambda: T.total(pointer, index, v[:, 0], x[:, 0], out=before.clone(), less=True),
                zeros[:, 0].index_add(0, rows, one[:, 0]) - before,
            ),
        )
        close = {} if dtype == torch.float64 else {"atol": 0.2, "rtol": 2e-2}
        for call, expected in calls:
            T.MANY = 10**9
            whole = call()
            T.MANY = 1
            cut = call()
            torch.testing.assert_close(cut.double(), expected, **close)
            assert close or torch.equal(cut, whole)

s, pointer = torch.randn(303, 2, generator=g), torch.tensor([0, 300, 303], dtype=torch.int32)  # a row that is long to `softmax`
expected = torch.cat([part.softmax(0) for part in (s[:300], s[300:])])
torch.testing.assert_close(T.softmax(pointer, s), expected)
"""


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, cwd=HERE.parent, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_in_the_interpreter() -> None:
    arguments = (
        "-m",
        "pytest",
        str(HERE / "test_sparse.py"),
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-k",
        AGAIN,
        "-m",
        "not cuda",
    )
    assert "passed" in run(sys.executable, *arguments, TRITON_INTERPRET="1")


def test_the_interpreter_takes_the_kernels_and_offsets_beyond_32_bits() -> None:
    assert run(sys.executable, "-W", "ignore", "-c", TAKEN + OFFSETS, TRITON_INTERPRET="1") == "True\n"


def test_long_rows_in_parts() -> None:
    run(sys.executable, "-W", "ignore", "-c", PARTS, TRITON_INTERPRET="1")


def test_without_it_torch_computes_and_they_compile_for_a_gpu(tmp_path: Path) -> None:
    environment = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    assert run(sys.executable, "-W", "ignore", "-c", TAKEN + COMPILE, **environment) == "False\n"
