"""Children: steps run in processes of their own, to be killed or to be starved of disk.

``Host`` starts this file as a program. It loads everything once, runs the day once to be warm,
and then forks a child for each order: a moment of death falls into the step's own work, and not
into ten seconds of imports. It never searches itself, since Qdrant's engine keeps threads.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

STUCK_SECONDS = 120
STEPS = (
    "stage", "cluster", "parity", "validate", "publish", "release", "refine", "index",
    "release_index",
)  # fmt: skip
WHOLE, ERASE = "run", "erase "
ERASED_AT = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """How a child ended."""

    ended: str
    """``done``, ``error``, ``killed`` or ``stuck``."""
    seconds: float
    kind: str = ""
    message: str = ""


class Host:
    """The process that has children."""

    def __init__(self, home, day):
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(home), str(day)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, step, home, day, *, kill_after=None, file_bytes=None):
        """Run a step in a child; kill it after some seconds, or let no file grow beyond a size."""
        order = {"step": step, "home": str(home), "day": str(day)}
        order |= {"kill_after": kill_after, "file_bytes": file_bytes}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def copy(home, target):
    """A copy whose files are links: every file is written once, or replaced whole."""
    return shutil.copytree(home, target, copy_function=os.link)


def facts(home):
    """What a home holds, whatever the way there: manifests, versions, profiles, what is live."""
    from pinnersage import config
    from pinnersage.release import Releases
    from pinnersage.stores import open_keyvalue, open_vectors

    settings = config.load(home)
    lake = home / "lake"
    live = Releases(settings).live()
    keyvalue = open_keyvalue(settings)
    profiles = {}
    for version in keyvalue.versions():
        with keyvalue.open(version) as reader:
            profiles[version] = dict(reader.items())
    return {
        "manifests": {
            str(path.relative_to(lake)): path.read_bytes() for path in lake.rglob("manifest.json")
        },
        "profiles": profiles,
        "indexes": open_vectors(settings).versions(),
        "live": (live.medoids, live.index),
    }


def clock():
    """What time it is."""
    return datetime(2026, 6, 1, tzinfo=UTC)


def step_of(name, settings, day):
    """Do one step, or all."""
    from pinnersage import (
        cluster,
        erase,
        index,
        parity,
        publish,
        refine,
        release,
        stage,
        validate,
    )
    from pinnersage import day as whole

    if name.startswith(ERASE):
        erase.run(name.removeprefix(ERASE), "ann", "asked", ERASED_AT, "salt", settings)
    elif name == WHOLE:
        whole.run(day, clock, settings, lambda _step, _report: None)
    elif name == "cluster":
        for bucket in range(settings.lake.n_buckets):
            cluster.run(day, bucket, settings)
    else:
        steps = {
            "stage": stage.run,
            "parity": parity.run,
            "validate": validate.run,
            "publish": publish.run,
            "release": partial(release.release_medoids, clock=clock),
            "refine": refine.run,
            "index": index.run,
            "release_index": partial(release.release_index, clock=clock),
        }
        steps[name](day, settings=settings)


def child(order, pipe):
    """Run the ordered step in this forked process, say how it ended, and end."""
    from pinnersage import config

    try:
        settings = config.load(Path(order["home"]))
        day = date.fromisoformat(order["day"])
        os.write(pipe, b"{")  # the clock starts
        if order["file_bytes"] is not None:
            limit = order["file_bytes"]
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        step_of(order["step"], settings, day)
        said = {"ended": "done"}
    except BaseException as error:  # noqa: BLE001 (all of it is the answer)
        said = {"ended": "error", "kind": type(error).__name__, "message": str(error)}
    os.write(pipe, json.dumps(said)[1:].encode())
    os._exit(0)


def supervise(order):
    """Fork a child for an order; return how it ended."""
    reading, writing = os.pipe()
    number = os.fork()
    if not number:
        os.close(reading)
        child(order, writing)
    os.close(writing)
    said = os.read(reading, 1)
    start = time.monotonic()
    limit = STUCK_SECONDS if order["kill_after"] is None else order["kill_after"]
    killed = False
    while os.waitpid(number, os.WNOHANG) == (0, 0):
        if not killed and time.monotonic() - start >= limit:
            os.kill(number, signal.SIGKILL)
            killed = True
        time.sleep(0.0005)
    seconds = time.monotonic() - start
    while part := os.read(reading, 65_536):
        said += part
    os.close(reading)
    whole = said.endswith(b"}")
    ended = "stuck" if order["kill_after"] is None else "killed"
    return (json.loads(said) if whole else {"ended": ended}) | {"seconds": seconds}


def main():
    """Get warm, then serve orders, one a line, until there are no more."""
    home, day = Path(sys.argv[1]), date.fromisoformat(sys.argv[2])
    import tqdm

    from pinnersage import config, erase, index, release  # noqa: F401 (loaded before the first fork)

    tqdm.tqdm.monitor_interval = 0  # it would start a thread
    settings = config.load(home)
    for step in ("stage", "cluster", "parity", "validate", "publish", "release", "refine"):
        step_of(step, settings, day)
    print("ready", flush=True)  # noqa: T201 (the answer)
    for line in sys.stdin:
        print(json.dumps(supervise(json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
