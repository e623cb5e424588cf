"""Day: how fast a whole day runs without Airflow, where its time goes, and what memory it takes.

A synthetic world with about ``--actions`` actions in the window is written to a temporary
folder; then every step runs in a process of its own, as Airflow would run it. Peak memory is
anonymous memory (RssAnon): mapped files are the page cache's. Buckets are of one size whatever
the number of actions, so that memory may be compared. With ``--profile`` three of the steps run
again, on one thread under Python's profiler.

    python benchmarks/day.py --actions 1000000 --dimensions 64 --threads 2
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

FIRST_DAY = date(2026, 1, 1)
WINDOW_DAYS = 90
DAY = FIRST_DAY + timedelta(days=WINDOW_DAYS - 1)
STEPS = (
    ("stage", "--day"),
    ("cluster", "--day"),
    ("validate", "--day"),
    ("publish", "--day"),
    ("release", "--day"),
)
STAGED_TO_PUBLISHED = ("cluster", "validate", "publish")
BUCKET = 250_000
"""Actions of the window in a bucket."""


def main() -> None:
    """Run the benchmark and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--actions", type=int, default=1_000_000, help="actions in the window")
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--pins", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="say where the time went, too")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), args)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the facts of one run on fresh data."""
    world = make_world(folder / "world", args)
    environment = variables(folder / "home", args.threads)
    n_buckets = -(-world["actions"] // BUCKET)
    steps = {"init": timed(init(folder / "world", n_buckets), environment)}
    for name, option in STEPS:
        steps[name] = timed([name, option, DAY.isoformat()], environment)
    seconds = sum(steps[name]["seconds"] for name in STAGED_TO_PUBLISHED)
    clustered = sum(one["actions"] for one in steps["cluster"]["report"])
    found = {
        "world": world,
        "threads": args.threads,
        "buckets": n_buckets,
        "dimensions": args.dimensions,
        "actions_clustered": clustered,
        "clusters": sum(one["clusters"] for one in steps["cluster"]["report"]),
        "users": sum(one["users"] for one in steps["cluster"]["report"]),
        "staged_to_published_seconds": round(seconds, 2),
        "actions_per_second": round(world["actions"] / seconds),
        "clustered_per_second": round(clustered / seconds),
        "steps": {
            name: {k: v for k, v in step.items() if k != "report"} for name, step in steps.items()
        },
    }
    return found | ({"profile": profile(folder / "home")} if args.profile else {})


def variables(home: Path, threads: int) -> dict[str, str]:
    """Return the environment of a step."""
    return os.environ | {
        "PINNERSAGE_HOME": str(home),
        "PINNERSAGE__RUN__THREADS": str(threads),
        "GX_ANALYTICS_ENABLED": "false",
    }


def init(world: Path, n_buckets: int) -> list[str]:
    """Return the command that makes a home over a world."""
    return ["init", "--actions", str(world / "actions"), "--event", "event_id",
            "--items", str(world / "pins.parquet"), "--embeddings", str(world / "embeddings.npy"),
            "--quality", "quality", "--title", "title", "--buckets", str(n_buckets)]  # fmt: skip


def profile(home: Path) -> Any:
    """Return where the time of three steps goes, by profile_day.py; what was published is gone."""
    shutil.rmtree(home / "stores")
    program = Path(__file__).with_name("profile_day.py")
    done = subprocess.run([sys.executable, str(program), DAY.isoformat()], check=True,
                          env=variables(home, 1), stdout=subprocess.PIPE, text=True)  # fmt: skip
    return json.loads(done.stdout)


def make_world(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write a world whose window holds about the actions asked for."""
    from pinnersage.synthetic import World, write  # noqa: PLC0415 (a heavy import)

    def world(n_users: int) -> World:
        return World(
            n_users=n_users, n_pins=args.pins, n_topics=500, dimensions=args.dimensions,
            n_days=WINDOW_DAYS, first_day=FIRST_DAY, seed=args.seed,
        )  # fmt: skip

    per_user = world(10_000).expected_actions / 10_000
    report = write(world(max(1, round(args.actions / per_user))), folder)
    return {"users": report.n_users, "actions": report.n_actions, "pins": report.n_pins}


def timed(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command of ours in a process; return its times, peak memory and report."""
    program = Path(sys.executable).with_name("pinnersage")
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen([str(program), *command, "--json"], env=environment,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    peak = Peak(child.pid)
    output, _ = child.communicate()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak.stop()
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_of(after) - cpu_of(before), 2),
        "peak_anonymous_mb": round(peak.kilobytes / 1024),
        "report": json.loads(output),
    }


def cpu_of(usage: resource.struct_rusage) -> float:
    """Return user and system time."""
    return usage.ru_utime + usage.ru_stime


class Peak:
    """The largest anonymous memory of a process and its children, looked at every 20 ms."""

    def __init__(self, pid: int) -> None:
        self.kilobytes = 0
        self._pid, self._stopped = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.02):
            self.kilobytes = max(self.kilobytes, sum(map(anonymous, family(self._pid))))


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in family(int(child)))]


def anonymous(pid: int) -> int:
    """Return the anonymous memory of a process, in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def show(result: dict[str, Any]) -> None:
    """Print the facts as a table."""
    world = result["world"]
    print(f"{world['actions']:,} raw actions, {result['actions_clustered']:,} clustered")
    print(f"{result['users']:,} users, {result['clusters']:,} clusters, d = {result['dimensions']}")
    print(f"{result['threads']} threads, {result['buckets']} buckets")
    print(f"{'step':<10}{'seconds':>10}{'CPU seconds':>14}{'peak anonymous MB':>20}")
    for name, step in result["steps"].items():
        seconds, cpu = step["seconds"], step["cpu_seconds"]
        print(f"{name:<10}{seconds:>10.2f}{cpu:>14.2f}{step['peak_anonymous_mb']:>20,}")
    speed = f"{result['actions_per_second']:,} actions/s"
    seconds = f"{result['staged_to_published_seconds']:.1f} s"
    print(f"staged to published {seconds}, {speed}, starting processes included")
    for part in result.get("profile", []):
        print(f"{part['step']:<10}{part['seconds']:>8.2f} s  {part['what']}")


if __name__ == "__main__":
    main()
