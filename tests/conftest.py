"""Each test process has a store of its own, so that no test sees what another left."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

_store = tempfile.TemporaryDirectory(prefix="cotan-tests-")
os.environ["COTAN_CACHE"] = _store.name


def pytest_runtest_setup() -> None:
    """Each test draws the same numbers, whichever ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def real_data() -> Path:
    """The folder of real data that COTAN_DATA names."""
    if not os.environ.get("COTAN_DATA"):
        pytest.skip("COTAN_DATA is not set")
    return Path(os.environ["COTAN_DATA"])


@pytest.fixture
def fresh_store(tmp_path, monkeypatch):
    """An empty store, for tests that look into it."""
    import cotan
    from cotan.store import store

    monkeypatch.setenv("COTAN_CACHE", str(tmp_path / "store"))
    cotan.counts(reset=True)
    return store()


@pytest.fixture
def scratch():
    """Definitions made in a test are gone after it."""
    from cotan import registry

    registry.load()
    before = {key: list(found) for key, found in registry._state.definitions.items()}
    yield
    registry._state.definitions = before


@pytest.fixture
def gpu():
    """The GPU, or where there is none, one that is pretended while the test runs."""
    from cotan.testing import another_device

    with another_device() as device:
        yield device


@pytest.fixture
def tetrahedron():
    import torch
    from torch_geometric.data import Data

    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return Data(pos=pos, face=torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]).T.contiguous())


@pytest.fixture
def sphere():
    from cotan.show import sphere

    return sphere()


@pytest.fixture
def leaves_none():
    """A script that kills itself leaves no process: its output ends when the last one that holds it does."""

    def run(script: str) -> None:
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", script]
        with subprocess.Popen(
            command, env=os.environ | path, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                process.communicate(timeout=120)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode < 0

    return run
