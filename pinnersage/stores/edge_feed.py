"""Edge feed: hands what is to be built to the child process that builds it (``edge_build``)."""

import json
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError, PinnerSageError, TransientError
from pinnersage.stores.disk import DISK_FULL, Aside, disk_full
from pinnersage.stores.filters import Attributes
from pinnersage.stores.vectors import Vectors, blocks

SHARD = "shard"
NO_ROWS = np.empty(0, np.int64)
_ORDERED = (
    "count", "dimensions", "m", "ef_construct", "full_scan_kb", "quantisation", "filters",
)  # fmt: skip
_BLOCK = 1024


class Points(NamedTuple):
    """What is sent to the builder."""

    rows: npt.NDArray[np.int64]
    vectors: Vectors
    attributes: Attributes


def build(
    aside: Aside,
    version: str,
    gone: npt.NDArray[np.int64],
    points: Points,
    facts: dict[str, Any],
) -> None:
    """Run ``edge_build`` on ``aside`` and feed it; returns when the index is on the disk."""
    order = {name: facts[name] for name in _ORDERED} | {
        "path": str(aside.path / SHARD),
        "block": _BLOCK,
        "deleted": len(gone),
        "sent": len(points.rows),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "pinnersage.stores.edge_build"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[aside.lock],  # were we killed, no sweep removes what the child still writes
    )
    assert child.stdin and child.stdout  # noqa: S101, PT018
    said: deque[bytes] = deque(maxlen=15)
    listener = threading.Thread(target=said.extend, args=[child.stdout], daemon=True)
    listener.start()
    try:
        try:
            child.stdin.write(json.dumps(order).encode() + b"\n")
            child.stdin.write(gone.tobytes())
            for start, some_rows, some_vectors in blocks(version, *points[:2], _BLOCK):
                carried = points.attributes.part(slice(start, start + _BLOCK)).payloads()
                child.stdin.write(some_rows.data)
                child.stdin.write(some_vectors.data)
                child.stdin.write(json.dumps(carried).encode() + b"\n")
            child.stdin.close()
        except BrokenPipeError:  # it died early; its last words say more
            pass
        code = child.wait()
    finally:
        child.kill()
        child.wait()
        listener.join()
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()
    if code:
        raise _failed(
            version, code, b"".join(said).decode(errors="replace").strip(), aside.path.parent
        )


def _failed(version: str, code: int, said: str, root: Path) -> PinnerSageError:
    if code in (-signal.SIGBUS, -signal.SIGXFSZ) or any(
        f"os error {number})" in said or f"[Errno {number}]" in said for number in DISK_FULL
    ):
        return disk_full(
            root, f"building {version!r} ended with {said[-300:] or f'signal {-code}'!r}"
        )
    if code < 0:
        return TransientError(
            f"{root}: the process that built {version!r} was killed by "
            f"{signal.Signals(-code).name}. Nothing was published. Look for the out-of-memory "
            f"killer, then build again. Its last words: {said[-2000:] or 'none'}"
        )
    return DataError(
        f"{root}: the process that built {version!r} failed with code {code}. Nothing was "
        f"published. Its last words:\n{said[-2000:]}"
    )
