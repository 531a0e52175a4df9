"""Filling the store from other processes: when it is done, what they are given, what is left where one fails."""

import sys
from concurrent.futures import Future

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan import processes, warming
from cotan.batching import prepare
from cotan.warming import warm


class Pool:
    """One that works at once, in this process; what it is asked is remembered."""

    def __init__(self, workers):
        Pool.workers, Pool.tasks, Pool.stopped = workers, [], False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, jobs, have, shapes, dtype):
        Pool.tasks.append([int(shape.number) for shape in shapes])
        threads, future = torch.get_num_threads(), Future()
        torch.set_num_threads(2)
        try:
            future.set_result(work(jobs, have, shapes, dtype))
            assert torch.get_num_threads() == 1  # there is a worker for each processor
        except BaseException as reason:
            future.set_exception(reason)
        finally:
            torch.set_num_threads(threads)
        return future

    def shutdown(self, cancel_futures):
        Pool.stopped = cancel_futures


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(warming, "Processes", Pool)
    monkeypatch.setattr(processes, "usable", lambda: 2)
    Pool.tasks = []
    return Pool


def cloud(number):
    generator = torch.Generator().manual_seed(number)
    return Data(pos=torch.rand(6, 3, generator=generator), number=number)


MODEL = cotan.create_model("linear", 3, 2)
SHAPES = [cloud(number) for number in range(12)]


def test_values_are_in_the_store_and_their_seconds_by_shape(pool, fresh_store):
    said = []
    costs = warm({"": MODEL}, SHAPES, 2, torch.float32, each=2.0, progress=lambda *n: said.append(n))
    assert pool.workers == 2
    assert pool.tasks == [[number] for number in range(2, 12)]  # of two seconds of work each
    assert said == [(number + 1, 12) for number in range(2, 12)]
    assert list(costs) == list(range(2, 12))
    assert all(seconds > 0 for each in costs.values() for seconds in each.values())
    cotan.counts(reset=True)
    for shape in SHAPES:
        cotan.compute(shape, "normalized_pos")
    count = cotan.counts()["normalized_pos"]
    assert (count.evaluations, count.hits) == (2, 10)


@pytest.mark.parametrize(("each", "size"), [(1.999, 1), (0.9, 2), (0.7, 2), (0.1, 5)])
def test_a_task_is_two_seconds_of_work_but_every_process_has_some(each, size, pool, fresh_store, monkeypatch):
    monkeypatch.setattr(warming, "PAYS", 1.0)
    said = []
    costs = warm({"": MODEL}, SHAPES, 2, torch.float32, each, lambda *n: said.append(n))
    assert pool.tasks == [list(range(start, min(start + size, 12))) for start in range(2, 12, size)]
    assert said[-1] == (12, 12)
    assert list(costs) == list(range(2, 12))


def test_it_is_left_where_it_would_not_pay(pool, fresh_store, monkeypatch):
    assert warm({"": MODEL}, SHAPES, 2, torch.float32, each=1.99) == {}  # ten shapes: less than twenty seconds
    assert warm({"": MODEL}, SHAPES, 11, torch.float32, each=99.0) == {}  # a single one
    monkeypatch.setattr(fresh_store, "writable", False)
    assert warm({"": MODEL}, SHAPES, 2, torch.float32, each=99.0) == {}
    monkeypatch.setattr(fresh_store, "writable", True)
    monkeypatch.setattr(processes, "usable", lambda: 1)
    assert warm({"": MODEL}, SHAPES, 2, torch.float32, each=99.0) == {}
    assert pool.tasks == []


def test_what_one_shape_is_refused_for_is_left_to_the_caller(pool, fresh_store):
    shapes = [*SHAPES]
    shapes[5] = Data(pos=torch.full((6, 3), torch.nan), number=5)
    costs = warm({"": MODEL}, shapes, 2, torch.float32, each=4.0)
    assert list(costs) == list(range(2, 12))
    with pytest.raises(cotan.CotanError, match="shape 5 of 12"):
        prepare(MODEL, shapes, per=None)


def test_a_worker_that_dies_leaves_the_rest_to_the_caller(pool, fresh_store, monkeypatch):
    work = warming._work

    def killed(jobs, have, shapes, dtype):
        if shapes[0].number == 6:
            raise RuntimeError("killed")
        return work(jobs, have, shapes, dtype)

    monkeypatch.setattr(warming, "_work", killed)
    assert list(warm({"": MODEL}, SHAPES, 2, torch.float32, each=2.0)) == [2, 3, 4, 5]
    assert pool.stopped
    monkeypatch.setattr(warming, "_work", lambda *_: sys.exit("stop"))
    with pytest.raises(SystemExit):
        warm({"": MODEL}, SHAPES, 2, torch.float32, each=2.0)
    assert pool.stopped
    assert pool.stopped


def test_where_no_process_can_be_started_the_caller_computes_all(pool, fresh_store, monkeypatch):
    def none_left(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    for place in ("submit", "__init__"):  # as many processes as a user may have; no /dev/shm
        monkeypatch.setattr(pool, place, none_left)
        assert warm({"": MODEL}, SHAPES, 2, torch.float32, each=2.0) == {}


def test_workers_end_with_the_process_that_started_them(leaves_none):
    leaves_none(
        "import os, signal, torch, cotan\nfrom torch_geometric.data import Data\nfrom cotan import processes, warming\n"
        "processes.usable = lambda: 2\n"
        "end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "shapes = [Data(pos=torch.rand(6, 3)) for _ in range(8)]\n"
        "warming.warm({'': cotan.create_model('linear', 3, 2)}, shapes, 0, torch.float32, each=9.0, progress=end)"
    )
