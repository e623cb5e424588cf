"""Sizing: what a day costs for a number of users, from what was measured on one machine.

``--measure`` runs days of three sizes, each step and each bucket in a process of its own as
Airflow runs them, and keeps CPU seconds (not wall time: other programs may share the machine),
memory and bytes in ``benchmarks/sizing.json``. Then, and without it, the tables of
``docs/sizing.md`` are written again from that file: a straight line through the medians of each
size, and the plan for 1 to 350 million users, which is extrapolation.

    python benchmarks/sizing.py --measure --repeats 3
    python benchmarks/sizing.py
"""

import argparse
import json
import math
import os
import platform
import re
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from day import DAY, WINDOW_DAYS, make_world, timed

FACTS = Path(__file__).with_name("sizing.json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "sizing.md"
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
WORLDS = ((250_000, 4), (1_000_000, 4), (4_000_000, 2))
"""Raw actions in the window, and buckets."""
DIMENSIONS = 256
PINS = 50_000

USERS = (1_000_000, 10_000_000, 100_000_000, 350_000_000)
WINDOW_HOURS = 2.0
"""From the first task of a day to its release."""
TASK_SECONDS = 5.0
"""Bar for what Airflow adds to a task, in wall time."""
BUCKET_ACTIONS = 1_500_000
"""About the largest bucket that was measured; more users get more buckets, up to the most."""
MOST_BUCKETS = 4096
OTHER_TASKS = 5
"""Of a day beside the buckets: the list of buckets, stage, validate, publish, release."""
WORKER_CORES = 8
PRICE = 0.05
"""An assumption, not an offer: money for a core for an hour, with the memory that goes with it."""


def main() -> None:
    """Measure if asked; write the page's tables again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.measure:
        runs = [run(*size) for _ in range(args.repeats) for size in WORLDS]
        facts = {"machine": machine(), "dimensions": DIMENSIONS, "pins": PINS, "runs": runs}
        FACTS.write_text(json.dumps(facts, indent=1) + "\n")
    PAGE.write_text(refreshed(PAGE.read_text(), json.loads(FACTS.read_text())))


# --- measuring -------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What it was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def run(n_actions: int, n_buckets: int) -> dict[str, Any]:
    """One day of one size: each step, each bucket and each store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = Namespace(actions=n_actions, dimensions=DIMENSIONS, pins=PINS, seed=0)
        world = make_world(folder / "world", wanted)
        home = folder / "home"
        environment = os.environ | {
            "PINNERSAGE_HOME": str(home),
            "PINNERSAGE__RUN__THREADS": "1",
            "GX_ANALYTICS_ENABLED": "false",
        }
        timed(["init", "--actions", str(folder / "world" / "actions"), "--event", "event_id",
               "--items", str(folder / "world" / "pins.parquet"), "--embeddings",
               str(folder / "world" / "embeddings.npy"), "--buckets", str(n_buckets)],
              environment)  # fmt: skip
        day = ["--day", DAY.isoformat()]
        steps = {"stage": timed(["stage", *day], environment)}
        clustered = [
            timed(["cluster", *day, "--bucket", str(bucket)], environment)
            for bucket in range(n_buckets)
        ]
        for step in ("validate", "publish"):
            steps[step] = timed([step, *day], environment)
        return {
            "raw_actions": world["actions"],
            "users": world["users"],
            "steps": {name: cost(step) for name, step in steps.items()},
            "buckets": [cost(one) | sizes(one["report"][0]) for one in clustered],
            "bytes": {
                "actions": size(home / "lake" / "actions"),
                "medoids": size(home / "lake" / "medoids"),
                "keyvalue": size(home / "stores" / "keyvalue"),
                "embeddings": size(home / "lake" / "embeddings"),
            },
        }


def cost(step: dict[str, Any]) -> dict[str, Any]:
    """CPU and memory of a process."""
    return {name: step[name] for name in ("cpu_seconds", "peak_anonymous_mb")}


def sizes(report: dict[str, Any]) -> dict[str, Any]:
    """How much a bucket held."""
    return {name: report[name] for name in ("users", "actions", "clusters")}


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- the model -------------------------------------------------------------------------------


class Line(NamedTuple):
    """What a process costs: ``start + each * n``."""

    start: float
    each: float

    @property
    def rate(self) -> float:
        """How many a second and core, once started."""
        return 1 / self.each

    def hours(self, n: float, tasks: int = 1) -> float:
        """Core-hours of ``tasks`` processes over ``n`` in total."""
        return (tasks * self.start + self.each * n) / 3600


def line(points: Iterable[tuple[int, dict[str, Any]]]) -> Line:
    """Straight line through the median CPU time of each size."""
    by_size: dict[int, list[dict[str, Any]]] = {}
    for n, found in points:
        by_size.setdefault(n, []).append(found)
    n = np.array(sorted(by_size), float)
    seconds = np.array([median(f["cpu_seconds"] for f in by_size[int(x)]) for x in n])
    each, start = np.polyfit(n, seconds, 1)
    return Line(max(float(start), 0.0), float(each))


class Rates(NamedTuple):
    """What was measured, per unit."""

    stage: Line
    cluster: Line
    validate: Line
    publish: Line
    raw_per_user: float
    actions_per_user: float
    clusters_per_user: float
    action_bytes: float
    medoid_bytes: float
    keyvalue_bytes: float


def rates(facts: dict[str, Any]) -> Rates:
    """The lines through the runs; bytes and shapes are those of the largest world."""
    runs = facts["runs"]
    totals = [{k: sum(b[k] for b in r["buckets"]) for k in ("users", "actions", "clusters")}
              for r in runs]  # fmt: skip
    both = list(zip(runs, totals, strict=True))
    largest, total = max(both, key=lambda pair: pair[0]["raw_actions"])
    return Rates(
        stage=line((r["raw_actions"], r["steps"]["stage"]) for r in runs),
        cluster=line((b["actions"], b) for r in runs for b in r["buckets"]),
        validate=line((t["actions"], r["steps"]["validate"]) for r, t in both),
        publish=line((t["users"], r["steps"]["publish"]) for r, t in both),
        raw_per_user=largest["raw_actions"] / total["users"],
        actions_per_user=total["actions"] / total["users"],
        clusters_per_user=total["clusters"] / total["users"],
        action_bytes=largest["bytes"]["actions"] / largest["raw_actions"],
        medoid_bytes=largest["bytes"]["medoids"] / total["clusters"],
        keyvalue_bytes=largest["bytes"]["keyvalue"] / total["users"],
    )


class Plan(NamedTuple):
    """A day for a number of users."""

    users: int
    buckets: int
    bucket_actions: float
    stage_hours: float
    cluster_hours: float
    validate_hours: float
    publish_hours: float
    tasks: int

    @property
    def single_hours(self) -> float:
        """What runs on one core, whatever there are: stage, validate, publish, and their tasks."""
        single = self.stage_hours + self.validate_hours + self.publish_hours
        return single + (self.tasks - self.buckets) * TASK_SECONDS / 3600

    @property
    def cores(self) -> int | None:
        """Cores that end within the window; None: the single tasks alone take longer."""
        left = WINDOW_HOURS - self.single_hours
        work = self.cluster_hours + self.buckets * TASK_SECONDS / 3600
        return math.ceil(work / left) if left > 0 else None

    @property
    def cores_if_split(self) -> int:
        """Cores, if stage, validate and publish ran bucket by bucket as cluster does."""
        return math.ceil((self.core_hours + 4 * self.buckets * TASK_SECONDS / 3600) / WINDOW_HOURS)

    @property
    def core_hours(self) -> float:
        """Of a whole day."""
        return self.stage_hours + self.cluster_hours + self.validate_hours + self.publish_hours


def plan(users: int, measured: Rates) -> Plan:
    """Buckets, core-hours and cores of a day; stage takes one day's events, not the window's."""
    actions = users * measured.actions_per_user
    buckets = min(MOST_BUCKETS, max(4, math.ceil(actions / BUCKET_ACTIONS)))
    stage = measured.stage.hours(users * measured.raw_per_user / WINDOW_DAYS)
    cluster = measured.cluster.hours(actions, buckets)
    validate, publish = measured.validate.hours(actions), measured.publish.hours(users)
    tasks = buckets + OTHER_TASKS
    return Plan(users, buckets, actions / buckets, stage, cluster, validate, publish, tasks)


# --- the tables ------------------------------------------------------------------------------


def refreshed(page: str, facts: dict[str, Any]) -> str:
    """The page with its tables, one after another, replaced."""
    new = iter(tables(facts))
    return TABLE.sub(lambda _: next(new) + "\n", page)


def tables(facts: dict[str, Any]) -> list[str]:
    """The tables of the page, in Markdown."""
    measured = rates(facts)
    plans = [plan(users, measured) for users in USERS]
    return [
        runs_table(facts),
        steps_table(measured),
        bytes_table(measured),
        plan_table(plans),
        store_table(measured),
    ]


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def runs_table(facts: dict[str, Any]) -> str:
    """What was measured: the median of each step and size, and how far runs lay apart."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for one in facts["runs"]:
        for bucket in one["buckets"]:
            size = one["raw_actions"] // len(one["buckets"])
            found.setdefault(("cluster, one bucket", size), []).append(bucket)
        for name, step in one["steps"].items():
            found.setdefault((name, one["raw_actions"]), []).append(step)
    rows = []
    for (name, size), steps in sorted(found.items()):
        seconds = [step["cpu_seconds"] for step in steps]
        memory = max(step["peak_anonymous_mb"] for step in steps)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        rows.append([name, f"{size / 1e6:.2f}", f"{median(seconds):.1f}", spread, f"{memory:,}"])
    head = ["step", "raw actions, million", "CPU s, median", "lowest to highest", "most memory, MB"]
    return table(head, rows)


def steps_table(measured: Rates) -> str:
    """What each step costs."""
    named = {
        "stage, raw actions": measured.stage,
        "cluster, one bucket, actions": measured.cluster,
        "validate, actions": measured.validate,
        "publish, users": measured.publish,
    }
    head = ["step, and what is counted", "start, CPU s", "then, a second and core"]
    rows = ([name, f"{x.start:.1f}", f"{significant(x.rate):,}"] for name, x in named.items())
    return table(head, rows)


def bytes_table(measured: Rates) -> str:
    """How large what they write is."""
    return table(
        ["of the largest world", ""],
        [
            ["raw actions a user in 90 days, mean", f"{measured.raw_per_user:.0f}"],
            ["actions clustered a user, mean", f"{measured.actions_per_user:.0f}"],
            ["clusters a user, mean", f"{measured.clusters_per_user:.1f}"],
            ["lake, bytes a raw action", f"{measured.action_bytes:.0f}"],
            ["lake, bytes a medoid", f"{measured.medoid_bytes:.0f}"],
            ["key-value store, bytes a user", f"{measured.keyvalue_bytes:.0f}"],
        ],
    )


def plan_table(plans: list[Plan]) -> str:
    """The day for each number of users."""
    facts = {
        "buckets": [f"{p.buckets:,}" for p in plans],
        "actions a bucket, million": [f"{p.bucket_actions / 1e6:.1f}" for p in plans],
        "stage, core-hours": [hours(p.stage_hours) for p in plans],
        "cluster, core-hours": [hours(p.cluster_hours) for p in plans],
        "validate, core-hours (one task)": [hours(p.validate_hours) for p in plans],
        "publish, core-hours (one task)": [hours(p.publish_hours) for p in plans],
        "all, core-hours a day": [hours(p.core_hours) for p in plans],
        "on one core in any case, hours": [hours(p.single_hours) for p in plans],
        f"cores to end within {WINDOW_HOURS:.0f} h": [cores(p) for p in plans],
        "cores, were every step split by bucket": [f"{p.cores_if_split:,}" for p in plans],
        f"workers of {WORKER_CORES} cores, were it so": [
            f"{math.ceil(p.cores_if_split / WORKER_CORES):,}" for p in plans
        ],
        f"money a day at {PRICE} a core-hour": [f"{PRICE * p.core_hours:,.2f}" for p in plans],
    }
    return table(["users", *heads()], ([name, *cells] for name, cells in facts.items()))


def store_table(measured: Rates) -> str:
    """The stores for each number of users."""
    actions = measured.raw_per_user * measured.action_bytes
    medoids = measured.clusters_per_user * measured.medoid_bytes
    facts = {
        "staged actions of 90 days, GB": actions,
        "medoids of a day, GB": medoids,
        "key-value version of a day, GB": measured.keyvalue_bytes,
    }
    rows = ([name, *(f"{u * each / 1e9:,.1f}" for u in USERS)] for name, each in facts.items())
    return table(["users", *heads()], rows)


def heads() -> list[str]:
    """Numbers of users, as heads of columns."""
    return [f"{users // 1_000_000} M" for users in USERS]


def hours(value: float) -> str:
    """Core-hours in two figures."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004


def cores(one: Plan) -> str:
    """Cores, or why there is no answer."""
    return "not as it is" if one.cores is None else f"{one.cores:,}"


def significant(value: float) -> int:
    """Two significant figures: more were not measured."""
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return round(value / step) * step


if __name__ == "__main__":
    main()
