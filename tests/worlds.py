"""Worlds: what tests compute on, and how they ask for it. One tiny world: 20 users, 400 pins."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pinnersage import config, init
from pinnersage.config import Settings, SourceConfig
from pinnersage.synthetic import World

FIRST_DAY = date(2026, 1, 1)
DAY = FIRST_DAY + timedelta(days=94)
"""The first of the days that tests compute; some days of actions follow it."""
TINY = World(
    n_users=20, n_pins=400, n_topics=12, dimensions=16, n_days=100, first_day=FIRST_DAY, seed=7
)


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def clock() -> datetime:
    """What time it is, where a test does not care."""
    return NOW


def source_of(world: Path, **changes: Any) -> SourceConfig:
    """The source section for a synthetic world."""
    return SourceConfig(actions=str(world / "actions"), event="event_id", **changes)


def items_of(world: Path) -> init.Items:
    """The pins of a synthetic world."""
    return init.Items(
        path=str(world / "pins.parquet"),
        quality="quality",
        title="title",
        created_at="created_at",
        topic="topic",
        embeddings=str(world / "embeddings.npy"),
    )


def change(settings: Settings, **sections: dict[str, Any]) -> Settings:
    """The same settings with keys of some sections changed: ``model={"decay_per_day": 0}``."""
    values = settings.model_dump(exclude={"home"})
    for name, keys in sections.items():
        values[name] |= keys
    return config.build(settings.home, values)
