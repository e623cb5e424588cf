"""Processes that may write only so much."""

import resource
import subprocess
import sys
from collections.abc import Callable

import pytest


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
