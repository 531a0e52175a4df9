import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cotan import CotanError, processes
from cotan.processes import cache_folder, how_many, usable


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no system that says which processors a process may use"
)
def test_a_job_on_one_of_many_processors_has_one():
    script = (
        "import os\nfrom cotan.processes import usable\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nprint(usable())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    out = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout == "1\n"


@pytest.mark.parametrize(("platform", "most"), [("win32", 61), ("linux", 128)])
def test_one_a_processor_a_piece_and_what_windows_can_wait_for(platform, most, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(processes, "usable", lambda: 128)
    assert (how_many(1000), how_many(50), how_many(1000, 3), how_many(1000, 100)) == (most, 50, 3, min(most, 100))


def test_how_many_are_usable_without_being_told(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable() == 1


def _in_a_worker(folder: str) -> list[int]:
    import cotan
    from cotan import warming

    os.environ["COTAN_CACHE"] = folder
    warming.PAYS, processes.usable = 0.0, lambda: 2
    data = cotan.load_dataset("poses", vertices=150, per_class=8, creatures=("dog", "octopus"), stress=(), workers=2)
    return [len(data.train), len(cotan.prepare(cotan.create_model("linear", 3, 2), data.train).samples)]


def test_a_worker_of_a_pool_computes_by_itself(tmp_path):
    """It may have no children: "daemonic processes are not allowed to have children"."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        of_poses, prepared = pool.apply(_in_a_worker, [str(tmp_path)])
    assert of_poses == prepared > 8


def test_a_worker_has_the_cache_that_was_meant_at_first(tmp_path, monkeypatch):
    """A relative one, though the working directory is another by the time that the worker starts."""
    monkeypatch.setenv("COTAN_CACHE", f"relative-{tmp_path.name}")  # a name that no other test has
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    before = cache_folder()
    monkeypatch.chdir(tmp_path / "there")
    with processes.Processes(1) as pool:
        assert pool.submit(cache_folder).result() == before == tmp_path / f"relative-{tmp_path.name}"


def test_threads_that_submit_at_once_leave_the_callers_script_in_place():
    main = sys.modules["__main__"]

    def submit(_):
        with processes.Processes(1) as pool:
            return [pool.submit(abs, -i).result() for i in range(3)]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(submit, range(2))) == [[0, 1, 2]] * 2
    assert sys.modules["__main__"] is main


@pytest.mark.parametrize("named", ["~/store", ""])
def test_without_a_home_the_stores_folder_wants_a_name(named, monkeypatch):
    """As in a container whose user is a number only: no HOME, and no line in the list of users."""
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("COTAN_CACHE", named)
    with pytest.raises(CotanError, match="no home folder, in which the store would be: name a folder by COTAN_CACHE"):
        cache_folder()
    monkeypatch.setenv("COTAN_CACHE", "/store")
    assert cache_folder() == Path("/store")
