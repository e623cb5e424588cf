"""An experiment over a home by hand, and what is shown in it."""

from datetime import timedelta

import pyarrow as pa
import pytest
from events import DAY, changed, make, write_log, write_pins
from shows import ARMS, NAME, event_of

from pinnersage import stage


@pytest.fixture
def home(tmp_path):
    """Make a home with an experiment, over users' actions of two days from ``DAY``, all staged."""

    def made(actions=(), *, user=str, arms=ARMS, name=NAME):
        events = [event_of(user("1"), DAY - timedelta(days=1)), *actions]
        kind = pa.string() if user is str else pa.int64()
        log = write_log(tmp_path / "log" / "log.parquet", events, ids=kind, pins=pa.int64())
        items = write_pins(tmp_path / "items", list(range(10, 30)))
        settings = make(tmp_path / "home", log, items)
        for day in (DAY, DAY + timedelta(days=1)):
            stage.run(day, settings)
        return changed(settings, experiment={"name": name, "arms": arms})

    return made
