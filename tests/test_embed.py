"""Embeddings from the user's own log: of the days before, and of nothing else."""

from datetime import date

import pytest
from events import event, write_log
from worlds import FIRST_DAY

from pinnersage import config, embed, init
from pinnersage.config import SourceConfig
from pinnersage.errors import DataError
from pinnersage.stores import embeddings
from pinnersage.stores.lake import Lake

BEFORE = date(2026, 3, 1)


@pytest.fixture
def over(tmp_path, tiny):
    """Settings of a home over those days of the tiny world that pass a test."""

    def over(name, wanted):
        folder = tmp_path / name / "actions"
        folder.mkdir(parents=True)
        for path in sorted((tiny / "actions").glob("*.parquet")):
            if wanted(date.fromisoformat(path.stem)):
                (folder / path.name).symlink_to(path)
        home = tmp_path / name / "home"
        init.run(home, SourceConfig(actions=str(folder), event="event_id"), init.Items())
        return config.load(home)

    return over


def test_what_happens_from_the_day_on_changes_nothing(over):
    all_days = over("all", lambda _day: True)
    days_before = over("before", lambda day: day < BEFORE)

    one = embed.run(BEFORE, all_days, dimensions=8)
    other = embed.run(BEFORE, days_before, dimensions=8)

    assert one.version == other.version
    assert one.pins > 50


def test_the_version_is_valid_from_that_day_on(over):
    settings = over("all", lambda _day: True)
    made = embed.run(BEFORE, settings, dimensions=8)

    lake = Lake(settings.home / "lake")
    assert embeddings.valid_at(lake, "embeddings", BEFORE).partition["version"] == made.version
    with pytest.raises(DataError, match="valid on 2026-02-28"):
        embeddings.valid_at(lake, "embeddings", date(2026, 2, 28))


def test_no_interest_before_the_day_is_said(over):
    settings = over("all", lambda _day: True)

    with pytest.raises(DataError, match="No interest before"):
        embed.run(FIRST_DAY, settings)


def test_other_actions_are_no_interest(tmp_path):
    rows = [
        event(user, pin, "2026-02-01 12:00", action)
        for user in range(6)
        for pin, action in ((user % 3, "repin"), (9, "hide"))
    ]
    log = write_log(tmp_path / "log.parquet", rows)
    init.run(tmp_path / "home", SourceConfig(actions=str(log)), init.Items())

    with pytest.raises(DataError, match="pins"):
        embed.run(BEFORE, config.load(tmp_path / "home"), dimensions=2)
