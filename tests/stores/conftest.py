"""A Redis server of our own, and processes that may write only so much."""

import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """An empty server on a free port, without persistence, gone at the end."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.fail("no redis-server: make services installs it")
    folder = tmp_path_factory.mktemp("redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, *options, "--dir", str(folder)], stdout=log)
    try:
        with redis.Redis(port=port) as client:
            for _ in range(100):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.1)
            else:
                pytest.fail(f"redis-server does not answer: {(folder / 'log').read_text()}")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def on_a_full_disk() -> Callable[[str, int], str]:
    """What a program prints that may write no file beyond so many bytes."""

    def run(program: str, limit: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr

    return run


@pytest.fixture
def in_a_fork() -> Callable[[Callable[[], None]], int]:
    """Exit code of a forked child that runs a function."""
    return _fork


def _fork(run: Callable[[], None]) -> int:
    import os
    import signal
    import traceback
    import warnings

    with warnings.catch_warnings():
        # Airflow forks under threads as well; that is what these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            run()
            code = 0
        except BaseException:  # noqa: BLE001, a child must never return into pytest
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
