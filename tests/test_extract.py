"""Extract: one bucket's window as arrays of whole users, what is left out counted by reason."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from events import DAY, at, changed, days_before, event, make, vectors, write_log, write_pins

from pinnersage import extract, queries, stage
from pinnersage.errors import DataError
from pinnersage.stores import embeddings
from pinnersage.stores.lake import Lake

PINS = [10, 11, 12, 13]


@pytest.fixture
def home(tmp_path):
    """Make a home with one bucket over some events, their day staged."""

    def home(events, *, sections=None, n_buckets=1, **source):
        log = write_log(tmp_path / "log.parquet", events)
        items = write_pins(tmp_path / "pins", PINS, vectors(len(PINS)))
        settings = make(
            tmp_path / "home", log, items, n_buckets=n_buckets, sections=sections, **source
        )
        stage.run(DAY, settings)
        return settings

    return home


def extracted(settings, bucket=0, day=DAY):
    """Counts, and each user's actions as (pin, age in days), in the order of the arrays."""
    lake = Lake(settings.home / "lake")
    table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", day))
    with queries.connect(settings.home / "spill", settings.run) as con:
        counts = extract.label(con, lake, day, bucket, settings, table)
        users = []
        for chunk in extract.chunks(con, day):
            pins = table.pin_ids.take(pa.array(chunk.rows)).to_pylist()
            for start, end in zip(chunk.offsets, chunk.offsets[1:], strict=False):
                ids = set(chunk.user_ids[int(start) : int(end)].to_pylist())
                assert len(ids) == 1
                actions = list(zip(pins[start:end], chunk.ages_days[start:end], strict=True))
                users.append((ids.pop(), actions))
    return counts, users


def checked(settings, bucket=0, day=DAY):
    """What the checks found in one bucket."""
    lake = Lake(settings.home / "lake")
    table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", day))
    with queries.connect(settings.home / "spill", settings.run) as con:
        extract.label(con, lake, day, bucket, settings, table)
        return extract.check(con, day, bucket, settings, lake.layout.n_buckets)


def test_users_come_whole_and_oldest_first(home):
    settings = home(
        [
            event(2, 10, "2026-04-05 12:00"),
            event(1, 11, "2026-04-05 18:00"),
            event(1, 13, "2026-04-04 00:00"),
            event(1, 10, "2026-04-05 18:00"),
        ]
    )
    counts, users = extracted(settings)
    assert users == [(1, [(13, 2.0), (10, 0.25), (11, 0.25)]), (2, [(10, 0.5)])]
    assert counts == {"kept": 4}


def test_what_is_left_out_is_counted_by_reason(home):
    settings = home(
        [
            event(1, 10, event_id="a"),
            event(1, 10, "2026-04-04 12:00", event_id="a"),
            event(1, 99, event_id="b"),
            event(1, 11, action="hide", event_id="c"),
            event(1, 11, "2026-04-05 01:00", event_id="d"),
            event(1, 12, "2026-04-05 02:00", event_id="e"),
            event(1, 13, "2026-04-05 03:00", event_id="f"),
        ],
        event="event_id",
        sections={"model": {"max_actions_per_day": 2}},
    )
    counts, users = extracted(settings)
    assert counts == {
        "kept": 3,
        "duplicate": 1,
        "unknown_pin": 1,
        "not_an_interest": 1,
        "over_the_daily_cap": 1,
    }
    assert [pin for pin, _ in users[0][1]] == [10, 12, 13]


def test_nothing_before_the_window_or_at_the_day_s_end_comes_in(home):
    settings = home(
        [
            event(1, 10, "2026-04-02 23:59:59.999999"),
            event(1, 11, "2026-04-03 00:00"),
            event(1, 12, "2026-04-05 23:59:59.999999"),
            event(1, 13, "2026-04-06 00:00"),
        ]
    )
    _, users = extracted(settings)
    assert [pin for pin, _ in users[0][1]] == [11, 12]
    ages = [age for _, age in users[0][1]]
    assert ages[0] == settings.model.window_days
    assert ages[1] == pytest.approx(1e-6 / 86400)


def test_interests_are_a_setting(home):
    settings = home([event(1, 10, action="save"), event(1, 11)], interest_actions=("save",))
    assert extracted(settings)[1] == [(1, [(10, 0.5)])]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 50])
def test_chunks_hold_whole_users_whatever_their_size(home, size, monkeypatch):
    rng = np.random.default_rng(3)
    events = [
        event(int(user), int(rng.choice(PINS)), at("2026-04-05 00:00") + timedelta(seconds=n))
        for n, user in enumerate(rng.integers(0, 9, size=60))
    ]
    settings = home(events)
    whole = extracted(settings)
    monkeypatch.setattr(extract, "CHUNK", size)
    assert extracted(settings) == whole


def test_a_bucket_without_users_is_empty(home):
    settings = home([event(1, 10)], n_buckets=16)
    found = [extracted(settings, bucket) for bucket in range(16)]
    assert sum(bool(users) for _, users in found) == 1
    assert sum(counts == {} for counts, _ in found) == 15


def test_a_user_of_unknown_pins_only_is_left_out_and_counted(home):
    counts, users = extracted(home([event(1, 99), event(1, 98), event(2, 10)]))
    assert [user for user, _ in users] == [2]
    assert counts == {"kept": 1, "unknown_pin": 2}


def test_action_in_the_wrong_bucket_is_found_and_named(home):
    settings = home([event(user, 10) for user in range(20)], n_buckets=2)
    lake = Lake(settings.home / "lake")
    manifest = lake.require("actions", "stage", day=DAY)
    swapped = tuple(f.model_copy(update={"bucket": 1 - f.bucket}) for f in manifest.files)
    lake.commit(manifest.model_copy(update={"files": swapped}))
    found = {check.name: check for check in checked(settings)}
    wrong = found["an action of a user of another bucket"]
    assert (wrong.severity, wrong.n_rows) == ("fail", len(wrong.examples))
    assert wrong.n_rows > 0
    assert found["an action in the file of another day"].n_rows == 0


def test_day_that_is_not_staged_names_the_command(home):
    settings = home([event(1, 10)])
    with pytest.raises(DataError, match=r"pinnersage stage --day 2026-04-06"):
        extracted(settings, day=days_before(-1))


def test_broken_staged_file_is_a_data_error(home):
    settings = home([event(1, pin) for pin in PINS])
    lake = Lake(settings.home / "lake")
    path = lake.path(lake.require("actions", "stage", day=DAY).files[0])
    path.write_bytes(path.read_bytes()[:-20])
    from pinnersage import cluster

    with pytest.raises(DataError, match=r"cluster 2026-04-05, bucket 0: .*broken file"):
        cluster.run(DAY, 0, settings)


def test_embeddings_valid_at_the_day_s_end_are_used(home):
    settings = home([event(1, 10)])
    lake = Lake(settings.home / "lake")
    ids = pa.array(PINS)
    for since in (DAY, days_before(-1)):
        embeddings.write(
            lake,
            ids,
            vectors(4, seed=since.day),
            valid_from=since,
            first_day=since,
            max_bad_share=0,
        )
    assert embeddings.valid_at(lake, "embeddings", DAY).report["valid_from"] == "2026-04-05"
    before = embeddings.valid_at(lake, "embeddings", days_before(1))
    assert before.report["valid_from"] == "2020-01-01"


def test_more_threads_extract_the_same(home):
    rng = np.random.default_rng(4)
    events = [
        event(int(u), int(rng.choice(PINS)), at("2026-04-05 00:00") + timedelta(seconds=second))
        for second, u in enumerate(rng.integers(0, 30, size=400))
    ]
    settings = home(events)
    assert extracted(changed(settings, run={"threads": 2})) == extracted(settings)
