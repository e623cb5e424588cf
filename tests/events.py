"""Small worlds by hand: a log of a few events, pins with vectors, and a home over both."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pinnersage import config, init
from pinnersage.config import SourceConfig

DAY = date(2026, 4, 5)
"""The day that tests compute, in the tiny world and in worlds by hand."""
TIME = pa.timestamp("us", "UTC")


def at(text):
    """``2026-04-05 12:00`` as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def event(user=1, pin=10, when="2026-04-05 12:00", action="repin", **more):
    return {
        "user_id": user,
        "pin_id": pin,
        "action": action,
        "acted_at": at(when) if isinstance(when, str) else when,
        **more,
    }


def table(events, *, ids=pa.int64(), pins=None, time=TIME):
    """Events as the Arrow table that a user would export."""
    fields = [
        ("user_id", ids),
        ("pin_id", pins or ids),
        ("action", pa.string()),
        ("acted_at", time),
    ]
    names = {name for row in events for name in row}
    fields += [(name, pa.string()) for name in ("event_id",) if name in names]
    return pa.Table.from_pylist(events, schema=pa.schema(fields))


def write_log(path, events, **types):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(events if isinstance(events, pa.Table) else table(events, **types), path)
    return path


def vectors(n, d=8, seed=0):
    """Unit vectors."""
    drawn = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def write_pins(folder, pin_ids, matrix=None, **columns):
    """``pins.parquet`` and ``embeddings.npy``; return them as ``init`` wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    pins = pa.table({"pin_id": pin_ids, **columns})
    pq.write_table(pins, folder / "pins.parquet")
    np.save(folder / "embeddings.npy", vectors(pins.num_rows) if matrix is None else matrix)
    return init.Items(path=str(folder / "pins.parquet"), embeddings=str(folder / "embeddings.npy"))


def make(home, log, items=None, *, n_buckets=2, sections=None, **source):
    """A home over a log, with settings of some sections changed; its window is three days."""
    init.run(
        home,
        SourceConfig(actions=str(log), **source),
        items or init.Items(),
        n_buckets=n_buckets,
        valid_from=date(2020, 1, 1),
    )
    few_days = {"model": {"window_days": 3} | (sections or {}).get("model", {})}
    return changed(config.load(home), **((sections or {}) | few_days))


def changed(settings, **sections):
    """The same settings with some keys changed."""
    values = settings.model_dump(exclude={"home"})
    for name, keys in sections.items():
        values[name] |= keys
    return config.build(settings.home, values)


def days_before(n, day=DAY):
    return day - timedelta(days=n)


def rows_of(lake, manifest):
    """The rows of a partition, bucket by bucket."""
    return [row for path in lake.paths(manifest) for row in pq.ParquetFile(path).read().to_pylist()]
