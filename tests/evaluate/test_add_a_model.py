"""The page that shows how to add a model: its program runs, and its model keeps what it owes."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from events import event, make, write_log, write_pins
from random_logs import actions_of, drawn_log, nth

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import start_us

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-model.md"
MODEL, MEASURING = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def shown():
    """The model of the page."""
    names = {}
    exec(MODEL, names)  # noqa: S102 (our own page)
    return names["RecentPins"]


@pytest.mark.parametrize("seed", range(5))
def test_the_model_is_what_the_page_says(shown, seed):
    log = drawn_log(seed)
    known = cases.before(log, np.arange(len(log.user_ids)), start_us(nth(8)), 6)
    made = shown(log.matrix, most=3).represent(known)
    for i in range(known.users.size):
        rows = known.rows[known.offsets[i] : known.offsets[i + 1]].tolist()
        newest = []
        while rows and len(newest) < 3:
            pin = rows.pop()
            newest += [pin] if pin not in newest else []
        own = slice(made.offsets[i], made.offsets[i + 1])
        assert made.rows[own].tolist() == newest
        assert made.weights[own].tolist() == [1, 0.5, 0.25][: len(newest)]
        np.testing.assert_array_equal(made.vectors[own], log.matrix[newest])


def test_the_program_runs_on_a_home_and_prints_lifts(tmp_path, monkeypatch, capsys):
    log = drawn_log(1)
    users, start = log.user_ids.to_pylist(), datetime(1970, 1, 1, tzinfo=UTC)
    events = [
        event(users[user], row, start + timedelta(microseconds=time))
        for user, time, row in actions_of(log)
    ]
    items = write_pins(tmp_path / "pins", list(range(len(log.matrix))), log.matrix)
    make(tmp_path / "home", write_log(tmp_path / "log.parquet", events), items)
    monkeypatch.setenv("PINNERSAGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PINNERSAGE__MODEL__WINDOW_DAYS", "6")

    names = {}
    exec(MODEL, names)  # noqa: S102 (our own page)
    exec(MEASURING, names)  # noqa: S102

    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" 0.")[0] for line in printed] == ["Recent pins", "PinnerSage"]
    assert all("Interval(value=" in line for line in printed)
    assert names["judged"].n > 0
    assert names["base"].counts.sum() == names["judged"].targets.new.sum() > 0
