"""The store under bad weather."""

import errno
import itertools
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import cotan
from cotan import CotanError, atomic
from cotan.evaluation import narrowed
from cotan.packing import Packing
from cotan.store import Store
from cotan.store import store as store_in_use
from cotan.stored import Facts, Kept, decode, describe
from cotan.training.folder import append
from cotan.values import map_tensors, move

FACTS = Facts("mass", "mass", {"k": 3, "sizes": (1, 2)}, "family", 0.5)


class Both(NamedTuple):
    whole: torch.Tensor
    part: torch.Tensor


def only_file(store):
    (path,) = [path for path, _ in store.entries()]
    return path


VALUES = {
    "tensor": torch.randn(4, 3),
    "empty": torch.zeros(0, 3, dtype=torch.long),
    "sparse": cotan.Sparse.from_coo(torch.tensor([2, 0]), torch.tensor([1, 1]), torch.tensor([1.0, 2.0]), (3, 2)),
    "spectrum": cotan.Spectrum(torch.arange(3.0), torch.randn(5, 3)),
    "record": {"genus": 0, "parts": [1, 2], "closed": True},
}


def same(a, b):
    a, b = (torch.utils._pytree.tree_leaves(v) for v in (a, b))
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_values_come_back_as_they_went(value, tmp_path):
    store = Store(tmp_path, 2**30)
    store.put("key", value, FACTS)
    assert same(value, Store(tmp_path, 2**30).get("key", "mass"))
    assert describe(only_file(store)) == {"key": FACTS}
    assert dict(store.family("family", "mass")) == {"key": FACTS.options}


def packed(folder, values):
    """A store that a pack was written to, as another process meets it."""
    Store(folder, 2**30).pack([Kept(key, value, replace(FACTS, seconds=i)) for i, (key, value) in enumerate(values)])
    return Store(folder, 2**30)


def test_a_pack_is_one_file_of_many_values(tmp_path):
    store = packed(tmp_path, VALUES.items())
    assert all(same(value, store.get(key, "mass")) for key, value in VALUES.items())
    assert [store.seconds(key, "mass") for key in VALUES] == [0, 1, 2, 3, 4]
    assert dict(store.family("family", "mass")) == dict.fromkeys(VALUES, FACTS.options)
    assert only_file(store).parent.name == "packs"
    assert store.summary()["mass"][0] == len(VALUES)
    assert store.get("other", "mass") is None
    assert store.seconds("other", "mass") is None


def test_one_value_makes_no_pack(fresh_store):
    for key in ("aa", "bb"):  # as in two requests to a service, for each of which all packs would be looked through
        with Packing() as packing:
            packing.put(key, torch.ones(2), FACTS)
    assert {path.parent.name for path, _ in fresh_store.entries()} == {"aa", "bb"}
    assert dict(fresh_store.family("family", "mass")).keys() == {"aa", "bb"}


def test_what_waits_is_written_where_preparing_is_stopped(fresh_store):
    with pytest.raises(KeyboardInterrupt), Packing() as packing:
        packing.put("aa", torch.ones(2), FACTS)
        raise KeyboardInterrupt
    assert torch.equal(fresh_store.get("aa", "mass"), torch.ones(2))


def test_a_pack_is_read_once_in_whatever_order(tmp_path, monkeypatch):
    for number in range(20):
        packed(tmp_path, [(f"{number} {i}", torch.ones(1)) for i in range(2)])
    read = []
    monkeypatch.setattr("cotan.store.decode", lambda content: read.append(1) or decode(content))
    with Packing() as packing:
        packing.store = Store(tmp_path, 2**30)
        assert all(packing.get(f"{number} {i}", "mass") is not None for i in range(2) for number in range(20))
    assert len(read) == 20
    assert len(packing.store._opened) < 20
    assert all(packing.store.get(f"{number} 0", "mass") is not None for number in range(20))
    assert len(packing.store._opened) < 20  # where nothing is prepared, and nothing would let go of them


def test_the_transpose_of_a_stored_matrix_is_made_when_it_is_asked_for(tmp_path):
    matrix = VALUES["sparse"]
    store = packed(tmp_path, [("a", matrix), ("b", matrix)])
    blocks = [narrowed(None, store.get(key, "mass"), torch.float64) for key in "ab"]
    batch = cotan.Sparse.block_diagonal(blocks)
    later = {"row", "t_rowptr", "t_col"}
    copy = map_tensors(torch.clone, blocks[0])
    assert not any(later & vars(block.pattern).keys() for block in (*blocks, copy))  # a batch makes its own
    assert later <= vars(batch.pattern).keys()
    alone = cotan.Sparse.block_diagonal(blocks[:1])
    assert later <= vars(alone.pattern).keys()
    assert same(alone, matrix.to(dtype=torch.float64))


def test_a_matrix_from_the_store_goes_through_torchs_compiler_and_transforms(tetrahedron, fresh_store):
    request, x = cotan.node("laplacian"), torch.randn(4, 2)
    alone, again = (cotan.compute(tetrahedron, request) for _ in range(2))

    def energy(x, A):
        return (A @ x).square().sum()

    expected = 2 * alone.to_dense().T @ (alone.to_dense() @ x)
    torch.testing.assert_close(torch.func.grad(energy)(x, again), expected)
    stored = cotan.compute(tetrahedron, request)
    compiled = torch.compile(energy, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, stored), energy(x, alone))
    blocks = [cotan.compute(tetrahedron, request) for _ in range(2)]
    found = torch.func.grad(lambda x: energy(x, cotan.Sparse.block_diagonal(blocks)))(torch.cat([x, x]))
    torch.testing.assert_close(found, torch.cat([expected, expected]))


def test_values_may_share_memory(tmp_path):
    x, matrix = torch.arange(6.0), VALUES["sparse"]
    values = {"views": Both(x, x[:2]), "matrix": matrix, "on its pattern": matrix.with_values(torch.tensor([5.0, 6.0]))}
    store = packed(tmp_path, values.items())
    assert all(same(value, store.get(key, "mass")) for key, value in values.items())


def test_packs_of_other_processes_are_met_and_missed(tmp_path):
    store = packed(tmp_path, [("a", torch.ones(1)), ("b", torch.ones(2))])
    assert store.get("a", "mass") is not None
    packed(tmp_path, [("c", torch.ones(3)), ("d", torch.ones(4))])
    assert len(store.get("d", "mass")) == 4
    assert Store(tmp_path, 2**30).prune(0)[0] == 2
    store._opened.clear()
    assert store.get("a", "mass") is None
    store.put("a", torch.ones(5), FACTS)
    assert len(store.get("a", "mass")) == 5
    assert [key for key, _ in store.family("family", "mass")] == ["a"]


def test_a_pack_that_another_process_removed_is_forgotten(tmp_path):
    store = packed(tmp_path, [("a", torch.ones(1))])
    assert store.get("a", "mass") is not None
    only_file(store).unlink()
    packed(tmp_path, [("b", torch.ones(2))])
    store._opened.clear()
    assert [key for key, _ in store.family("family", "mass")] == ["b"]
    assert store.get("a", "mass") is None


def test_what_another_process_is_writing_is_left_to_it(tmp_path):
    store = Store(tmp_path, 2**30)
    store.put("a", torch.ones(1), FACTS)
    writing = store._family_folder("family", "mass") / f"{atomic.BESIDE}b"
    writing.write_text("{}")
    assert [key for key, _ in store.family("family", "mass")] == ["a"]
    store.prune()
    assert writing.exists()
    (writing.parent / "a").write_text("")  # as a power cut leaves it
    assert not [*store.family("family", "mass")]


def test_packs_written_within_one_tick_are_met(tmp_path):
    store = packed(tmp_path, [("a", torch.ones(1))])
    assert store.get("a", "mass") is not None
    folder = only_file(store).parent
    before = folder.stat().st_mtime_ns
    store.pack([Kept("b", torch.ones(2), FACTS)])
    os.utime(folder, ns=(before, before))
    assert len(store.get("b", "mass")) == 2


def test_a_pack_that_another_process_made_of_others_is_met(tmp_path):
    store = packed(tmp_path, [("a", torch.ones(1)), ("b", torch.ones(2))])
    assert store.get("a", "mass") is not None
    store._opened.clear()
    before = only_file(store)
    packed(tmp_path, [("a", torch.ones(1)), ("c", torch.ones(3))])
    before.unlink()
    store.get("a", "mass")  # may be missed once
    assert len(store.get("a", "mass")) == 1
    assert store.seconds("b", "mass") is None


def test_what_is_done_to_a_value_of_a_pack_stays_outside(tmp_path):
    store = packed(tmp_path, [("a", torch.ones(2)), ("b", torch.ones(2))])
    store.get("a", "mass").zero_()
    assert torch.equal(store.get("a", "mass"), torch.ones(2))


def test_a_damaged_pack_is_said_once_and_removed(tmp_path):
    store = packed(tmp_path, [("a", torch.ones(2)), ("b", torch.ones(2))])
    path = only_file(store)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged .* computed again") as warned:
        assert store.get("a", "mass") is None
        assert store.get("b", "mass") is None
    assert len(warned) == 1
    assert not path.exists()


def test_a_pack_with_any_byte_of_its_header_flipped_is_missed(tmp_path):
    path = only_file(packed(tmp_path, [("a", torch.ones(2)), ("b", torch.ones(2))]))
    content = path.read_bytes()
    for i in range(16, 24 + int.from_bytes(content[16:24], "little")):
        damaged = bytearray(content)
        damaged[i] ^= 4
        path.write_bytes(damaged)
        store = Store(tmp_path, 2**30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert store.get("a", "mass") is None
            assert all(store.get(key, "mass") is None for key, _ in store.family("family", "mass"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_entry_is_said_once_and_computed_again(tetrahedron, fresh_store, damage):
    right = cotan.compute(tetrahedron, "mass")
    path = only_file(fresh_store)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-3]), "empty": b""}[damage])
    with pytest.warns(RuntimeWarning, match="is damaged .* computed again") as warned:
        again = cotan.compute(tetrahedron, "mass")
    assert len(warned) == 1
    assert torch.equal(again, right)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(cotan.compute(tetrahedron, "mass"), right)


@pytest.mark.parametrize(
    "description",
    [
        {"tuple": "os:system", "parts": []},
        {"tuple": f"{__name__}:Both", "parts": []},
        {"tensor": 99},
        {"tensor": "x"},
        {"unknown": 1},
        [],
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_value_that_another_wrote_with_the_right_checksum_is_computed_again(
    description, count, tmp_path, monkeypatch
):
    values = [(key, torch.ones(2)) for key in "ab"[:count]]
    with monkeypatch.context() as patch:
        patch.setattr("cotan.stored.take_apart", lambda value, own: own.append(value) or description)
        store = packed(tmp_path, values)
    with pytest.warns(RuntimeWarning, match="is damaged .* computed again"):
        assert store.get("a", "mass") is None
    assert store.get("a", "mass") is None
    assert not list(store.entries())
    packed(tmp_path, values)
    assert torch.equal(store.get("a", "mass"), torch.ones(2))


def test_every_flipped_byte_is_found(tmp_path):
    store = Store(tmp_path, 2**30)
    store.put("key", torch.arange(6.0), FACTS)
    path = only_file(store)
    content = path.read_bytes()
    for i in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[i] ^= 0x10
        path.write_bytes(bytes(damaged))
        with pytest.warns(RuntimeWarning):
            assert Store(tmp_path, 2**30).get("key", "mass") is None


def test_a_damaged_header_is_a_value_error(tmp_path):
    store = Store(tmp_path, 2**30)
    store.put("key", torch.arange(6.0), FACTS)
    path = only_file(store)
    content = path.read_bytes()
    for damaged in (b"", content[:20], content[:16] + b"\xff" * 8 + content[24:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError):
            describe(path)


def test_a_folder_that_cannot_be_written_degrades_to_memory(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    store = Store(blocked, 2**30)
    with pytest.warns(RuntimeWarning) as warned:
        for key in "abde":
            store.put(key, torch.ones(2), FACTS)
    assert [str(each.message).partition("; ")[2] for each in warned] == [
        "this value stays in memory",
        "values from now on stay in memory",
    ]
    assert all("file/v3 cannot be written (" in str(each.message) for each in warned)
    value = torch.ones(2)
    store.put("c", value, FACTS)
    for mine in (value, store.get("c", "mass")):  # as from a file: what is done to it stays outside
        mine.zero_()
        assert torch.equal(store.get("c", "mass"), torch.ones(2))
    assert store.get("a", "mass").shape == (2,)


def test_one_failure_is_of_one_value(tmp_path, monkeypatch):
    """On Windows a file that another process, a virus scanner say, has open cannot be replaced."""
    store, replace, failures = Store(tmp_path, 2**30), os.replace, []

    def refuse(*names):
        if failures.pop():
            raise PermissionError(13, "in use")
        replace(*names)

    monkeypatch.setattr(os, "replace", refuse)
    facts = Facts("mass", "mass", {}, "", 0.0)  # of no family, which would be one more file
    keys = ("aa", "bb", "cc", "dd", "ee", "ff")
    failures[:] = reversed([True, True, False, True, True, False])
    with pytest.warns(RuntimeWarning, match=r"cannot be written \(.*in use\); this value stays in memory") as warned:
        for number, key in enumerate(keys):
            store.put(key, torch.full((2,), number), facts)
    assert len(warned) == 1
    assert sorted(path.stem for path, _ in store.entries()) == ["cc", "ff"]
    assert [int(store.get(key, "mass")[0]) for key in keys] == list(range(6))


def test_what_memory_holds_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("cotan.store.MEMORY", 20_000)
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file", 2**30)
    with pytest.warns(RuntimeWarning, match="stays? in memory"):
        for key in "abc":
            store.put(key, torch.ones(2000), FACTS)
    assert [store.get(key, "mass") is not None for key in "abc"] == [False, True, True]
    store.pack([Kept(key, torch.ones(1000), FACTS) for key in "de"])  # half as large each
    assert [store.get(key, "mass") is not None for key in "abcde"] == [False, False, True, True, True]
    store.put("large", torch.ones(6000), FACTS)  # one is kept, whatever its size
    store.put("large", torch.ones(6000), FACTS)
    assert len(store.get("large", "mass")) == 6000
    assert store._held == sum(
        size for _, size in store.memory.values()
    )  # counted along: a sum a value takes longer each time
    store = Store(tmp_path / "packs", 2**30)
    for pair in ("ab", "cd", "ef"):
        store.pack([Kept(key, torch.ones(2), FACTS) for key in pair])
    for key in "aaccee":
        assert len(store.get(key, "mass", packs=2)) == 2
        assert len(store._opened) <= 2
    for path, _ in store.entries():
        path.unlink()
    assert [store.get(key, "mass") is not None for key in "dfb"] == [True, True, False]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EDQUOT])
def test_a_disk_that_stays_as_it_is_is_asked_once(error, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "replace", refuse)
    store = Store(tmp_path, 2**30)
    with pytest.warns(RuntimeWarning, match="values from now on stay in memory"):
        store.put("a", torch.ones(2), FACTS)
    assert not store.writable


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_degrades_to_memory(tmp_path, monkeypatch):
    store = Store(tmp_path, 2**30)

    def full(path, mode):
        path.touch()
        return open("/dev/full", "wb")

    monkeypatch.setattr(atomic, "open", full, raising=False)
    with pytest.warns(RuntimeWarning, match=r"No space left on device\); values from now on stay in memory"):
        store.put("a", torch.ones(2), FACTS)
    assert torch.equal(store.get("a", "mass"), torch.ones(2))
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_others_may_read_what_one_has_written(tmp_path):
    before = os.umask(0o022)
    try:
        Store(tmp_path, 2**30).put("a", torch.ones(2), FACTS)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()} == {0o644}


def test_the_least_recently_used_go_first(tmp_path):
    store, keys = Store(tmp_path, 2**30), ("aa", "bb", "cc")
    for used in itertools.permutations(keys):
        for key in keys:
            store.put(key, torch.zeros(1000), FACTS)
            os.utime(store.path(key, "mass"), (used.index(key), used.index(key)))
        assert store.prune(2 * store.path("aa", "mass").stat().st_size)[0] == 1
        assert {path.stem for path, _ in store.entries()} == {*used[1:]}
    oldest = used[1]
    store.get(oldest, "mass")  # now the youngest
    assert store.prune(store.path(oldest, "mass").stat().st_size)[0] == 1
    assert store.get(oldest, "mass") is not None
    assert store.prune(0, node="other") == (0, 0)
    assert store.prune(0)[0] == 1


def test_what_is_left_of_a_removed_value_or_a_killed_writer_goes(tmp_path):
    store = Store(tmp_path, 2**30)
    store.put("aa", torch.zeros(10), FACTS)
    assert store.summary() == {"mass": (1, only_file(store).stat().st_size)}
    old, young = (store.folder / "mass" / f"{atomic.BESIDE}{name}" for name in ("old", "young"))
    for leftover in (old, young):
        leftover.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    store.prune(0)
    assert (old.exists(), young.exists()) == (False, True)  # the young one may be in work
    assert [path for path in store.folder.rglob("*") if path.is_file()] == [young]
    assert not list(store.folder.glob("mass/families/*/*"))  # a folder a shape, of which a service sees ever new ones


def test_its_folder_is_the_one_that_was_meant_at_first(tmp_path, monkeypatch, tetrahedron):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("COTAN_CACHE", f"relative-{tmp_path.name}")  # a name that no other test has
    monkeypatch.chdir(tmp_path / "here")
    cotan.compute(tetrahedron, "mass")
    monkeypatch.chdir(tmp_path / "there")
    cotan.compute(tetrahedron, "vertex_normals")
    assert set(store_in_use().summary()) >= {"mass", "vertex_normals"}
    assert not any((tmp_path / "there").iterdir())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("COTAN_CACHE", f"~/home-{tmp_path.name}")
    assert store_in_use().folder.parent == tmp_path / f"home-{tmp_path.name}"


def test_the_cap_is_in_gigabytes(monkeypatch):
    for text, limit in (("2", 2 * 2**30), ("0.5", 2**29), ("0", 0)):
        monkeypatch.setenv("COTAN_CACHE_GB", text)
        assert store_in_use().limit == limit
    for text in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("COTAN_CACHE_GB", text)
        with pytest.raises(cotan.CotanError, match=f"COTAN_CACHE_GB='{text}', expected a number of gigabytes"):
            store_in_use()


def test_a_size_cap_is_kept(tmp_path):
    store = Store(tmp_path, 100_000)
    for i in range(60):
        store.put(f"{i:03}", torch.zeros(1000), FACTS)
        assert sum(stat.st_size for _, stat in store.entries()) <= 110_000


def _compute(folder, results):
    os.environ["COTAN_CACHE"] = folder
    from cotan.show import sphere

    results.put(cotan.compute(sphere(), "spectrum", k=12).values.tolist())


def test_eight_processes_at_once_leave_one_right_entry(tmp_path):
    # Forked from a process without threads: a copy of one that holds OpenMP's would wait for them for ever.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "cotan.show", "cotan.plan", "torch_geometric.data"])
    results = context.Queue()
    workers = [context.Process(target=_compute, args=(str(tmp_path), results)) for _ in range(8)]
    for worker in workers:
        worker.start()
    values = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert all(v == values[0] for v in values)
    store = Store(tmp_path, 2**30)
    assert store.summary()["spectrum"][0] == 1
    assert not list(tmp_path.rglob(".writing-*"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_wherever_it_is_interrupted_a_write_leaves_nothing_beside(tmp_path):
    path, interrupts = tmp_path / "a", 0

    def interrupt_at(number):
        seen = itertools.count()

        def trace(frame, event, _):
            if frame.f_code is not atomic.write.__code__:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode" and next(seen) == number:
                raise KeyboardInterrupt
            return trace

        return trace

    before = sys.gettrace()
    for number in itertools.count():
        try:
            sys.settrace(interrupt_at(number))
            atomic.write(path, b"first", b"%d" % number)
        except KeyboardInterrupt:
            interrupts += 1
        else:
            break
        finally:
            sys.settrace(before)
        assert not list(tmp_path.rglob(f"{atomic.BESIDE}*"))
    assert interrupts > 20
    assert path.read_bytes() == b"first%d" % interrupts


def test_what_is_dear_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A power cut after the rename would else leave a file without content, in place of the whole one."""
    synced, renamed = [], []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: renamed.append(list(synced)) or real(*paths))
    atomic.save(tmp_path / "checkpoint", b"weights")
    append(tmp_path / "results.jsonl", {})
    assert (renamed, synced) == ([[7]], [7, 3])
    Store(tmp_path, 2**30).put("aa", torch.zeros(10), FACTS)  # which has its checksum, and can be computed again
    assert len(synced) == 2


def test_a_file_system_that_cannot_sync_is_written_all_the_same(tmp_path, monkeypatch):
    refused = [errno.EINVAL, errno.EINVAL, errno.EIO]

    def refuse(number):
        raise OSError(refused.pop(0), "of fsync")

    monkeypatch.setattr(os, "fsync", refuse)
    atomic.save(tmp_path / "checkpoint", b"weights")
    append(tmp_path / "results.jsonl", {})
    assert (tmp_path / "results.jsonl").read_bytes() == b"{}\n"
    with pytest.raises(CotanError, match="checkpoint cannot be written: of fsync"):  # as of a disk that fails
        atomic.save(tmp_path / "checkpoint", b"newer")
    assert (tmp_path / "checkpoint").read_bytes() == b"weights"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_a_device_is_written_to_and_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe.svg", tmp_path / "link.svg"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (pipe, link):
        atomic.save(path, b"drawing")
        assert os.read(end, 100) == b"drawing"
        assert pipe.is_fifo()
    os.close(end)
    there, terminal = os.openpty()
    atomic.save(Path(os.ttyname(terminal)), b"drawing")
    assert os.read(there, 100) == b"drawing"
    os.close(there)
    os.close(terminal)
    with pytest.raises(CotanError, match="cannot be written: Is a directory"):
        atomic.save(tmp_path, b"drawing")


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "scratch").mkdir()
    for link, there in (("a.csv", "scratch/a.csv"), ("b.csv", "scratch/none.csv")):
        (tmp_path / link).symlink_to(tmp_path / there)
        atomic.save(tmp_path / link, b"table")
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / there).read_bytes() == b"table"


def test_kill_during_a_write_leaves_no_half_entry(tmp_path):
    script = (
        "import sys, torch; from cotan.store import Facts, Store\n"
        "s = Store(sys.argv[1], 2**40); print('ready', flush=True); i = 0\n"
        "while True:\n"
        "    s.put(f'{i:05}', torch.full((200_000,), float(i)), Facts('mass', 'mass', {}, '', 0.0)); i += 1\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store = Store(tmp_path, 2**40)
    keys = [path.stem for path, _ in store.entries()]
    assert keys
    for key in keys:  # a warning, which is an error here, would say that one is damaged
        assert torch.equal(store.get(key, "mass"), torch.full((200_000,), float(key)))


def test_a_value_that_carries_a_gradient_is_not_stored(tetrahedron, fresh_store):
    tetrahedron.pos.requires_grad_()
    area = cotan.compute(tetrahedron, "mass").sum()
    (gradient,) = torch.autograd.grad(area, tetrahedron.pos)
    assert gradient.abs().sum() > 0
    assert fresh_store.summary() == {}


def test_cast_keeps_integers():
    assert move(torch.tensor([1]), dtype=torch.float64).dtype == torch.int64


def test_a_store_of_no_size_writes_nothing(tmp_path, monkeypatch, tetrahedron):
    monkeypatch.setenv("COTAN_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("COTAN_CACHE_GB", "0")
    first = cotan.compute(tetrahedron, "spectrum", k=3)
    assert cotan.compute(tetrahedron, "spectrum", k=3).values.equal(first.values)
    assert store_in_use().memory
    assert not (tmp_path / "none").exists()
