"""Key-value: publish a version of users' packed medoids, and read single users, embedded (LMDB).

Publishing is what the step does after it read the lake: pack a table of medoids, and write, sync
and name the version. Reading is a user's key to unpacked medoids, in random order.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import timing

from pinnersage.stores.lmdb_store import LmdbStore
from pinnersage.stores.packing import key_of, pack_users, unpack

MEDOIDS = 10
SCALES = {
    "tiny": (1, 100, 100),
    "quick": (3, 50_000, 20_000),
    "usual": (5, 200_000, 100_000),
    "full": (9, 1_000_000, 200_000),
}
"""Rounds, users, reads."""


def measure(scale: str) -> dict[str, Any]:
    """Users published a second, and how long a read takes."""
    rounds, users, reads = SCALES[scale]
    one_round(min(users, 1000), 100, rounds)
    found = [one_round(users, reads, seed) for seed in range(rounds)]
    return {"users": users, "medoids_a_user": MEDOIDS, "reads": reads, "rounds": rounds} | {
        name: timing.spread([one[name] for one in found]) for name in found[0]
    }


def one_round(users: int, reads: int, seed: int) -> dict[str, float]:
    """Facts of one fresh version."""
    rng = np.random.default_rng(seed)
    table = medoids(users, rng)
    with tempfile.TemporaryDirectory() as folder:
        store = LmdbStore(Path(folder) / "store")
        spent = timing.cost(lambda: store.write("day", pack_users(table), {}))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.mdb"))
        keys = [key_of(int(user)) for user in rng.integers(users, size=reads)]
        with store.open("day") as reader:
            ms = np.array([milliseconds(reader, key) for key in keys])
            batched = timing.cost(lambda: reader.get_many(keys))
    return {
        "publish_users_per_cpu_second": users / spent.cpu,
        "publish_users_per_second": users / spent.wall,
        "bytes_a_user": size / users,
        "read_p50_ms": float(np.quantile(ms, 0.5)),
        "read_p99_ms": float(np.quantile(ms, 0.99)),
        "read_p999_ms": float(np.quantile(ms, 0.999)),
        "batched_reads_per_second": reads / batched.wall,
    }


def milliseconds(reader: Any, key: bytes) -> float:
    """Wall time from a key to a profile."""
    began = time.perf_counter()
    unpack(reader.get(key))
    return (time.perf_counter() - began) * 1e3


def medoids(users: int, rng: np.random.Generator) -> pa.Table:
    """Medoids of users as the step reads them from the lake."""
    n = users * MEDOIDS
    return pa.table(
        {
            "user_id": np.repeat(np.arange(users), MEDOIDS),
            "rank": np.tile(np.arange(MEDOIDS, dtype=np.int32), users),
            "pin_id": rng.integers(2**40, size=n),
            "importance": rng.exponential(size=n),
            "n_actions": rng.integers(1, 50, n),
            "offset": rng.random(n, dtype=np.float32),
            "last_acted_at": pa.array(rng.integers(2**50, size=n), pa.timestamp("us", tz="UTC")),
        }
    )


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
