"""Online: from an event that is posted to recommendations that count it, and how many a second.

*Update*: one user's clusters brought up to date in this process, 100 clusters and 20 actions of 256
dimensions. *Streams*: a home of a synthetic world with its service, a Redis that syncs every write
(``appendfsync always``) and one consumer, all on this machine. While a day's events are posted at
500 a second, with bursts, late and doubled ones, one user after another posts an event and asks for
recommendations until they count it. *Drain*: a burst of 100,000 posted events, then consumers.
Without a ``redis-server`` on the machine the streams are left out.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import events
import numpy as np
import serving
from batches import directions

from pinnersage import config, day, init, online, stage
from pinnersage.config import Settings, SourceConfig
from pinnersage.extract import window_of
from pinnersage.init import Items
from pinnersage.serve import keys
from pinnersage.synthetic import write

D, CLUSTERS, ACTIONS = 256, 100, 20
RATE = 500.0
POST = 1_000
"""Events in one post of the burst."""


class Scale(NamedTuple):
    """How much is measured."""

    pins: int
    users: int
    updates: int
    probes: int
    burst: int
    world_pins: int
    """Of the home whose service answers."""


SCALES = {
    "tiny": Scale(2_000, 60, 20, 3, 300, 500),
    "quick": Scale(200_000, 2_000, 500, 60, 20_000, 20_000),
    "usual": Scale(200_000, 5_000, 2_000, 200, 100_000, 100_000),
    "full": Scale(200_000, 5_000, 5_000, 500, 100_000, 200_000),
}


def measure(name: str) -> dict[str, Any]:
    """Milliseconds of an update, and of an event through the streams; events a second."""
    scale = SCALES[name]
    facts: dict[str, Any] = {
        "d": D,
        "pins": scale.pins,
        "clusters": CLUSTERS,
        "actions": ACTIONS,
        "updates": scale.updates,
        "update_ms": update(scale),
        "streams": None,
    }
    if shutil.which("redis-server"):
        with tempfile.TemporaryDirectory() as folder:
            facts["streams"] = streams(Path(folder), scale)
    return facts


def update(scale: Scale) -> dict[str, float]:
    """Milliseconds of one update; vectors lie in a file, as they do in a lake."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.npy"
        np.save(path, directions(scale.pins, D, rng))
        matrix = np.load(path, mmap_mode="r")
        made = [a_user(scale.pins, rng) for _ in range(scale.updates + 20)]
        spent = []
        for stored, actions, now in made:
            began = time.perf_counter()
            online.update(
                stored, actions, now, embeddings=matrix, merge_threshold=1.0, decay_per_day=0.01
            )
            spent.append((time.perf_counter() - began) * 1e3)
    return quantiles(spent[20:])


def a_user(n_pins: int, rng: np.random.Generator) -> tuple[online.Clusters, online.Actions, int]:
    """Stored clusters and later actions of one made-up user, half of them near what is stored."""
    rows = rng.choice(n_pins, CLUSTERS + ACTIONS, replace=False)
    end = 1_800_000_000_000_000
    stored = online.Clusters(
        rows=rows[:CLUSTERS],
        importance=np.sort(rng.exponential(size=CLUSTERS))[::-1] + 1e-3,
        n_actions=rng.integers(1, 50, CLUSTERS),
        offset=rng.uniform(0, 0.3, CLUSTERS),
        last_acted_at=np.full(CLUSTERS, end - 1),
        as_of=end,
    )
    acted = np.concatenate([rows[CLUSTERS:][: ACTIONS // 2], rows[: ACTIONS - ACTIONS // 2]])
    times = end + np.sort(rng.integers(0, 10**10, ACTIONS))
    return stored, online.Actions(acted, times), int(times[-1]) + 1


def streams(folder: Path, scale: Scale) -> dict[str, Any]:
    """An event's way through service, stream, consumer and back, and the rates."""
    with ExitStack() as opened:
        url = opened.enter_context(redis_server(folder))
        settings = home(folder, scale, url)
        port = opened.enter_context(serving.serving(settings, {}))
        with consumers(settings, 1):
            latency = reflected(port, scale)
            while waiting(url):
                time.sleep(0.1)
        drained = {}
        for n in (1, 2):
            fill(Client(port), scale, f"burst{n}")
            drained[str(n)] = drain(settings, url, n)
    return {
        "rate": RATE,
        "probes": scale.probes,
        "reflected_ms": latency,
        "burst": scale.burst,
        "drained": drained,
    }


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis that loses nothing, until the block ends: its address."""
    port = serving.free_port()
    data = folder / "redis"
    data.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data),
               "--save", "", "--appendonly", "yes", "--appendfsync", "always"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(60)


def home(folder: Path, scale: Scale, url: str) -> Settings:
    """A home of a synthetic world whose last day is live, with everything online in Redis."""
    of = events.world(scale.users, scale.world_pins, D)
    write(of, folder / "world")
    root = folder / "home"
    items = Items(path=str(folder / "world/pins.parquet"), quality="quality",
                  embeddings=str(folder / "world/embeddings.npy"))  # fmt: skip
    init.run(root, SourceConfig(actions=str(folder / "world/actions"), event="event_id"), items)
    text = (root / config.FILE).read_text()
    for old, new in (
        ('store = "lmdb"', 'store = "redis"'),
        ('source = "http"', 'source = "redis"'),
    ):
        assert old in text  # noqa: S101
        text = text.replace(old, new)
    (root / config.FILE).write_text(text)
    os.environ["REDIS_URL"] = url
    settings = config.load(root)
    stage.run_missing([d for d in window_of(events.DAY, settings) if d >= of.first_day], settings)
    at = datetime(2026, 1, 8, tzinfo=UTC)
    day.run(events.DAY, lambda: at, settings, lambda *_: None)
    keys.add("bench", "sender", serving.KEY, at, settings)
    return settings


class Client:
    """One connection to the service."""

    def __init__(self, port: int) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Return what the service answers; an error ends the run."""
        headers = {"Authorization": f"Bearer {serving.KEY}", "Content-Type": "application/json"}
        self.http.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.http.getresponse()
        data = json.loads(answer.read())
        if answer.status >= 300:  # noqa: PLR2004
            sys.exit(f"{method} {path.partition('?')[0]}: {answer.status} {data}")
        return dict(data)

    def post(self, some: list[dict[str, Any]]) -> None:
        """Post events."""
        self.ask("POST", "/v1/events", {"events": some})

    def counted(self, user: int) -> int:
        """Return how many of a user's actions today the recommendations count."""
        found = self.ask("GET", f"/v1/recommendations?user={user}")["online"]
        return int(found["actions"]) if found else 0


def reflected(port: int, scale: Scale) -> dict[str, float]:
    """Milliseconds from posting an event to the end of the first answer that counts it."""
    of, rng = events.world(scale.users, scale.world_pins, D), np.random.default_rng(1)
    seconds = max(10.0, scale.probes / 10) if scale.probes > 10 else 3.0  # noqa: PLR2004
    sent = list(events.traffic(of, int(RATE * seconds * 1.4), events.Traffic(RATE), rng))
    busy = {one.event["user_id"] for one in sent}
    quiet = [u for u in range(1_000_000, 1_000_000 + scale.users) if u not in busy]
    quiet = (quiet or list(busy))[: scale.probes]
    end = threading.Event()

    def load() -> None:
        client, clock, began = Client(port), time.perf_counter(), now()
        for due, batch in events.batches(iter(sent), events.POST_EVERY):
            if end.wait(max(0.0, clock + due - time.perf_counter())):
                return
            client.post([one.dated(began) for one in batch])

    background = threading.Thread(target=load)
    background.start()
    client, spent = Client(port), []
    time.sleep(1.0)
    for number, user in enumerate(quiet):
        before, began = client.counted(user), time.perf_counter()
        probe = {"event_id": f"probe-{number}", "user_id": user, "action": "repin"}
        pin = {"pin_id": sent[number].event["pin_id"], "acted_at": now().isoformat()}
        client.post([probe | pin])
        while client.counted(user) <= before:
            if time.perf_counter() - began > 30:  # noqa: PLR2004
                sys.exit("An event was not counted within 30 s.")
        spent.append((time.perf_counter() - began) * 1e3)
        time.sleep(max(0.0, 0.1 - spent[-1] / 1e3))
    end.set()
    background.join()
    return quantiles(spent)


def fill(client: Client, scale: Scale, name: str) -> None:
    """Post a burst that nobody takes yet."""
    of, rng = events.world(scale.users, scale.world_pins, D), np.random.default_rng(2)
    sent = events.traffic(of, scale.burst, events.Traffic(1e5), rng)
    began, batch = now(), list[dict[str, Any]]()
    for one in sent:
        dated = one.dated(began)
        batch.append(dated | {"event_id": f"{name}-{dated['event_id']}"})
        if len(batch) == POST:
            client.post(batch)
            batch = []
    if batch:
        client.post(batch)


def drain(settings: Settings, url: str, n: int) -> dict[str, float]:
    """Events a second of ``n`` consumers, from the first that is taken to the last."""
    with consumers(settings, n):
        full = left = waiting(url)
        began = None
        while left:
            time.sleep(0.02)
            left = waiting(url)
            if began is None and left < full:
                began, full = time.perf_counter(), left
        spent = time.perf_counter() - (began or 0.0)
    return {"seconds": round(spent, 2), "events_a_second": round(full / spent)}


@contextmanager
def consumers(settings: Settings, n: int) -> Iterator[None]:
    """As many consumers, until the block ends."""
    command = [sys.executable, "-m", "pinnersage.cli", "consume"]
    environment = os.environ | {"PINNERSAGE_HOME": str(settings.home)}
    started = [
        subprocess.Popen(command, env=environment, stdout=sys.stderr, stderr=subprocess.DEVNULL)
        for _ in range(n)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def waiting(url: str) -> int:
    """Return how many events wait in the streams."""
    import redis  # noqa: PLC0415 (only here)

    with redis.Redis.from_url(url) as client:
        return sum(int(client.xlen(f"pinnersage:events:{shard}")) for shard in range(4))


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)  # noqa: TID251 (live traffic)


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and what 99 of 100 are below."""
    return {
        name: float(f"{np.quantile(values, q):.4g}") for name, q in (("p50", 0.5), ("p99", 0.99))
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
