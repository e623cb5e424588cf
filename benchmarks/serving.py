"""Serving: the live release over HTTP, asked by sixteen connections that wait for each answer.

A home with one release, 200,000 pins of 256 dimensions around topics, is served by
``pinnersage serve`` in processes of its own, with keys on. Whoever asks runs on the same machine,
so with two cores one process of the service has one of them. *Stream*: users come by Zipf's law and
like popular pins, so that most medoids are remembered. *Cold*: nothing is remembered.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import retrieval

from pinnersage import config
from pinnersage.config import Settings
from pinnersage.release import Index, Medoids, Releases
from pinnersage.serve import keys
from pinnersage.stores import embeddings, open_keyvalue, open_lake, open_vectors
from pinnersage.stores.lake import Layout

KEY, CONNECTIONS = "a key for this run", 16
AT = datetime(2026, 1, 2, tzinfo=UTC)


class Scale(NamedTuple):
    """How much is measured."""

    pins: int
    users: int
    requests: int


SCALES = {
    "tiny": Scale(1_000, 50, 60),
    "quick": Scale(50_000, 2_000, 2_000),
    "usual": Scale(200_000, 10_000, 5_000),
    "full": Scale(200_000, 10_000, 20_000),
}
WAYS = {
    "stream": {},
    "stream, two processes": {"WORKERS": "2"},
    "cold": {"CACHED_MEDOIDS": "1"},
}


def measure(name: str) -> dict[str, Any]:
    """Requests a second and milliseconds of each, by way of asking."""
    scale = SCALES[name]
    with tempfile.TemporaryDirectory() as folder:
        settings = home(Path(folder) / "home", scale)
        ways = [{"name": way, **asked(settings, scale, changes)} for way, changes in WAYS.items()]
    return {
        "pins": scale.pins,
        "requests": scale.requests,
        "connections": CONNECTIONS,
        "ways": ways,
    }


def home(root: Path, scale: Scale) -> Settings:
    """A home in which one release is live, made by hand."""
    rng = np.random.default_rng(0)
    root.mkdir()
    (root / config.FILE).write_text('[retrieval]\nallocation = "equal"\n')
    settings = config.load(root)
    lake = open_lake(settings)
    lake.create(Layout(n_buckets=4, user_id="int64", pin_id="int64"))
    matrix, day = retrieval.pins(scale.pins, rng), retrieval.DAY
    rows = np.arange(scale.pins)
    made = embeddings.write(
        lake, pa.array(rows), matrix, valid_from=day, first_day=day, max_bad_share=0.0
    )
    about = {"embeddings": made.version, "popular": rows[:1000].tolist()}
    open_vectors(settings).build("i", rows, matrix, about)
    open_keyvalue(settings).write("p", retrieval.users(scale, rng), about)
    keys.add("bench", "reader", KEY, AT, settings)
    releases = Releases(settings)
    with releases.locked():
        releases.move(
            Medoids(day=day, manifest="m", keyvalue="p", embeddings=made.version),
            Index(day=day, version="i", embeddings=made.version),
            releases.pointer(),
            "for this run",
            lambda: AT,
        )
    return settings


def asked(settings: Settings, scale: Scale, changes: dict[str, str]) -> dict[str, Any]:
    """Ask a service of its own; figures of the second half, when it has warmed up."""
    rng = np.random.default_rng(1)
    users = (rng.zipf(retrieval.ZIPF, 2 * scale.requests) % scale.users).tolist()
    draws = rng.integers(1000, size=len(users)).tolist()
    paths = [f"/v1/recommendations?user={u}&draw={d}" for u, d in zip(users, draws, strict=True)]
    with serving(settings, changes) as port:
        asyncio.run(ask(port, paths[: scale.requests]))
        began = time.perf_counter()
        seconds, failed = asyncio.run(ask(port, paths[scale.requests :]))
        spent = time.perf_counter() - began
    return {
        "requests_a_second": round(len(seconds) / spent),
        "errors": failed,
        "p50_ms": float(f"{np.quantile(seconds, 0.5) * 1e3:.3g}"),
        "p99_ms": float(f"{np.quantile(seconds, 0.99) * 1e3:.3g}"),
    }


@contextmanager
def serving(settings: Settings, changes: dict[str, str]) -> Iterator[int]:
    """The service, until the block ends: its port."""
    sections = {"WORKERS": "SERVICE", "CACHED_MEDOIDS": "RETRIEVAL"}
    variables = {f"PINNERSAGE__{sections[name]}__{name}": value for name, value in changes.items()}
    port = free_port()
    command = [sys.executable, "-m", "pinnersage.cli", "serve", "--port", str(port)]
    environment = os.environ | variables | {"PINNERSAGE_HOME": str(settings.home)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket  # noqa: PLC0415 (one use)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when a release answers."""
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"The service ended with code {process.returncode}.")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("The service was not ready within a minute.")


async def ask(port: int, paths: list[str]) -> tuple[list[float], int]:
    """Seconds of each request, and how many were not answered with 200."""
    left, seconds, failed = iter(paths), [], 0

    async def one_after_another() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in left:
            began = time.perf_counter()
            lines = (f"GET {path} HTTP/1.1", "Host: bench", f"Authorization: Bearer {KEY}", "", "")
            writer.write("\r\n".join(lines).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            seconds.append(time.perf_counter() - began)
            failed += b" 200 " not in head[:16]
        writer.close()

    await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS)))
    return seconds, failed


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
