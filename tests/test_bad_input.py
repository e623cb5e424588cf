"""Bad input, end to end: a clear error, or a drop that is counted; never a wrong medoid."""

import os
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from children import STEPS, facts
from worlds import DAY, change, clock, items_of

from pinnersage import cluster, config, day, index, init, publish, refine, retrieve, stage, validate
from pinnersage.config import SourceConfig
from pinnersage.errors import DataError, TransientError
from pinnersage.release import Releases
from pinnersage.stores.lake import Lake

END = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
NEXT = DAY + timedelta(days=1)
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.int64()),
        ("pin_id", pa.int64()),
        ("action", pa.string()),
        ("acted_at", pa.timestamp("us", "UTC")),
    ]
)


def quiet(_step, _report):
    """Progress that nobody watches."""


def good_rows(n_users=6, each=10):
    """Some users' actions on pins of the tiny world, in the 20 days before the end."""
    rng = np.random.default_rng(4)
    return [
        {
            "event_id": f"{user}-{n}",
            "user_id": user,
            "pin_id": 50_000_000 + int(rng.integers(400)),
            "action": "repin",
            "acted_at": END - timedelta(hours=float(rng.uniform(0.1, 480))),
        }
        for user in range(n_users)
        for n in range(each)
    ]


@pytest.fixture
def home_of(tiny, tmp_path):
    """Make a home over some rows, in one file; two of them may be compared."""

    def make(rows, name="home", *, n_buckets=2, **changes):
        actions = tmp_path / name / "actions.parquet"
        actions.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), actions)
        source = SourceConfig(actions=str(actions), event="event_id")
        home = tmp_path / name / "home"
        since = DAY - timedelta(days=100)
        init.run(home, source, items_of(tiny), n_buckets=n_buckets, valid_from=since)
        return change(config.load(home), **changes)

    return make


def medoids_of(settings, on=DAY):
    """Content hash of a day's medoids, bucket by bucket, without the checks."""
    stage.run(on, settings)
    reports = [cluster.run(on, bucket, settings) for bucket in range(settings.lake.n_buckets)]
    return [report.content_hash for report in reports], reports


def dropped(reports):
    total = {}
    for report in reports:
        for reason, count in report.dropped.items():
            total[reason] = total.get(reason, 0) + count
    return total


def test_unknown_pins_are_counted_and_change_no_medoid(home_of):
    rows = good_rows()
    strange = [{**rows[0], "event_id": f"strange-{n}", "pin_id": n} for n in range(6)]

    clean, _ = medoids_of(home_of(rows, "clean"))
    settings = home_of(rows + strange)
    hashes, reports = medoids_of(settings)

    assert hashes == clean
    assert dropped(reports) == {"unknown_pin": 6}
    warned = validate.run(DAY, settings).warned
    assert any("no embedding" in warning for warning in warned)


def test_too_many_unknown_pins_publish_nothing(home_of):
    rows = good_rows()
    settings = home_of([{**row, "pin_id": n} if n % 3 == 0 else row for n, row in enumerate(rows)])

    with pytest.raises(DataError, match=r"(?s)without an embedding.*runbook: missing embeddings"):
        day.run(DAY, clock, settings, quiet)

    assert Releases(settings).live() is None
    with pytest.raises(DataError, match="Run first: pinnersage validate"):
        publish.run(DAY, settings)


def test_events_that_come_twice_count_once(home_of):
    rows = good_rows()

    clean, _ = medoids_of(home_of(rows, "clean"))
    settings = home_of(rows + rows[::-1])
    hashes, _ = medoids_of(settings)

    assert hashes == clean
    lake = Lake(settings.home / "lake")
    counts = [lake.current("actions", day=on).report["dropped"] for on in lake.days("actions")]
    assert sum(count.get("duplicate", 0) for count in counts) == len(rows)


def test_an_event_that_comes_again_on_a_later_day_counts_once(home_of):
    rows = good_rows()
    again = [{**row, "acted_at": END - timedelta(minutes=1)} for row in rows[:5]]

    clean, _ = medoids_of(home_of(rows, "clean"))
    hashes, _ = medoids_of(home_of(rows + again))

    assert hashes == clean


def test_events_from_the_future_change_nothing(home_of):
    rows = good_rows()
    future = [
        {**row, "event_id": f"f-{n}", "acted_at": END + timedelta(days=900 * (n % 3))}
        for n, row in enumerate(rows)
    ]

    clean, _ = medoids_of(home_of(rows, "clean"))
    hashes, _ = medoids_of(home_of(rows + future))

    assert hashes == clean


def by_day(tiny, tmp_path, change_rows):
    """A home over a file a day, the one of the next day changed; ``DAY`` may be run."""
    world = tmp_path / "world"
    shutil.copytree(tiny, world)
    path = world / "actions" / f"{NEXT}.parquet"
    table = pq.read_table(path)
    pq.write_table(change_rows(table), path)
    home = tmp_path / "by-day"
    source = SourceConfig(actions=str(world / "actions" / "{day}.parquet"), event="event_id")
    init.run(home, source, items_of(world))
    return change(config.load(home), model={"window_days": 20})


def moved(table, n, by):
    """The first n rows at another time."""
    times = table["acted_at"].to_pylist()
    times = [time + by if i < n else time for i, time in enumerate(times)]
    place = table.schema.get_field_index("acted_at")
    return table.set_column(place, "acted_at", pa.array(times, table["acted_at"].type))


def test_a_few_rows_of_another_day_are_left_out_and_counted(tiny, tmp_path):
    settings = by_day(tiny, tmp_path, lambda table: moved(table, 1, timedelta(days=400)))
    settings = change(settings, checks={"max_unusable_share": 0.5})

    report = stage.run(NEXT, settings)

    assert report.dropped == {"after_the_day": 1}


def test_a_file_of_another_day_is_refused(tiny, tmp_path):
    settings = by_day(tiny, tmp_path, lambda table: moved(table, 10**6, timedelta(days=1)))
    stage.run(DAY, settings)

    with pytest.raises(DataError, match=r"2026-04-06.*after_the_day.*runbook: unusable rows"):
        stage.run(NEXT, settings)

    assert Lake(settings.home / "lake").current("actions", day=NEXT) is None


def test_an_empty_day_keeps_the_medoids_of_the_days_before(tiny, tmp_path):
    settings = by_day(tiny, tmp_path, lambda table: table.slice(0, 0))

    report = stage.run(NEXT, settings)
    hashes, reports = medoids_of(settings, NEXT)

    assert report.rows == 0
    assert len(hashes) == 4
    assert sum(part.users for part in reports) > 0


def test_a_day_without_its_file_is_not_taken_for_an_empty_one(tiny, tmp_path):
    settings = by_day(tiny, tmp_path, lambda table: table)

    with pytest.raises(DataError, match="no Parquet file there"):
        stage.run(NEXT + timedelta(days=60), settings)


def test_a_window_without_actions_publishes_nothing(home_of):
    settings = home_of(good_rows())
    later = DAY + timedelta(days=200)

    with pytest.raises(DataError, match="users with clusters"):
        day.run(later, clock, settings, quiet)

    assert Releases(settings).live() is None


def test_empty_buckets_are_no_obstacle(home_of):
    settings = home_of(good_rows(n_users=3), n_buckets=12)

    reports = day.run(DAY, clock, settings, quiet)

    assert sum(report.users == 0 for report in reports["cluster"]) >= 9
    assert reports["publish"].users == 3
    assert reports["release index"].moved


@pytest.fixture(scope="session")
def many_pins(tmp_path_factory):
    """A folder with 4,000 pins in 16 dimensions."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(200, 16))[rng.integers(200, size=4_000)]
    vectors += 0.3 * rng.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / "embeddings.npy", vectors.astype(np.float32))
    table = pa.table({"pin_id": np.arange(4_000)})
    pq.write_table(table, folder / "pins.parquet")
    return folder


@pytest.mark.parametrize(
    ("days", "cap", "kept"), [(1, 200, 200), (90, 200, 18_000), (90, 2_000, 100_000)]
)
def test_a_user_with_100_000_actions_is_capped_counted_and_clustered(
    many_pins, tmp_path, days, cap, kept
):
    n = 100_000
    rng = np.random.default_rng(9)
    end = int(END.timestamp() * 1e6)
    table = pa.table(
        {
            "user_id": np.append(np.full(n, 7), 8),
            "pin_id": rng.integers(4_000, size=n + 1),
            "action": ["repin"] * (n + 1),
            "acted_at": pa.array(
                end - 1 - np.arange(n + 1) % n * (days * 86_400_000_000 // n)
            ).cast(pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "actions.parquet")
    items = init.Items(
        path=str(many_pins / "pins.parquet"), embeddings=str(many_pins / "embeddings.npy")
    )
    source = SourceConfig(actions=str(tmp_path / "actions.parquet"))
    since = DAY - timedelta(days=100)
    init.run(tmp_path / "home", source, items, n_buckets=1, valid_from=since)
    settings = change(config.load(tmp_path / "home"), model={"max_actions_per_day": cap})

    stage.run(DAY, settings)
    report = cluster.run(DAY, 0, settings)

    assert report.users == 2
    assert report.actions == kept + 1
    assert report.dropped.get("over_the_daily_cap", 0) == n - kept
    lake = Lake(settings.home / "lake")
    (path,) = lake.paths(lake.current("medoids", day=DAY, bucket=0))
    medoids = pq.read_table(path).to_pandas()
    assert medoids[medoids.user_id == 7].n_actions.sum() == kept
    assert medoids.last_acted_at.max().date() == DAY, "the newest are kept"


# Files that are broken.

BREAKS = {
    "truncated": lambda data: data[: len(data) // 2],
    "garbage": lambda data: os.urandom(len(data)),
    "empty": lambda _: b"",
    "tail overwritten": lambda data: data[:-64] + b"\0" * 64,
}


def break_file(path, how):
    data = BREAKS[how](path.read_bytes())
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_raw_file_is_named_and_what_is_live_stays(finished, tiny, tmp_path, how):
    world = tmp_path / "world"
    shutil.copytree(tiny, world)
    settings = change(finished, source={"actions": str(world / "actions")})
    path = world / "actions" / f"{NEXT}.parquet"
    break_file(path, how)
    live = Releases(settings).live()

    with pytest.raises(DataError, match=rf"(?s){path.name}.*(runbook: broken file|Mend)"):
        day.run(NEXT, clock, settings, quiet)

    assert Releases(settings).live() == live
    shutil.copy(tiny / "actions" / path.name, path)
    assert stage.run(NEXT, settings).rows > 0


READS = {
    "cluster": ("actions", lambda s: cluster.run(DAY, 0, s)),
    "publish": ("medoids", lambda s: publish.run(DAY, s)),
    "refine": ("pins", lambda s: refine.run(DAY, s)),
    "index": ("refined", lambda s: index.run(DAY, s)),
    "retrieve": ("embeddings", retrieve.open_live),
    "titles": ("pins", lambda s: retrieve.titles(s, Releases(s).live(), [1])),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("step", READS)
def test_a_broken_file_of_the_lake_is_named(finished, step, how):
    table, run = READS[step]
    if step == "publish":
        shutil.rmtree(finished.home / "stores" / "keyvalue")
    if step == "refine":
        shutil.rmtree(finished.home / "lake" / "refined")
    paths = sorted((finished.home / "lake" / table).rglob("data/*.*"))
    for path in paths:
        break_file(path, how)

    with pytest.raises(DataError) as caught:
        run(finished)

    assert any(path.name in str(caught.value) for path in paths), str(caught.value)
    assert "run" in str(caught.value).lower() or "restore" in str(caught.value).lower()


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_a_broken_manifest_is_named(finished, how):
    path = finished.home / "lake" / "medoids" / f"day={DAY}" / "manifest.json"
    break_file(path, how)

    with pytest.raises(DataError, match=r"manifest\.json is not a manifest"):
        publish.run(DAY, finished)


# A disk that is full: no file of the child may grow beyond some bytes.


@pytest.mark.parametrize("file_bytes", [0, 700, 6_000])
@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_full_disk_is_said_nothing_moves_and_the_next_run_succeeds(
    children, undisturbed, tmp_path, step, file_bytes
):
    before, expected, _ = undisturbed[step]
    home = tmp_path / "home"
    shutil.copytree(before, home)
    live = Releases(config.load(home)).live()

    outcome = children.run(step, home, NEXT, file_bytes=file_bytes)

    if file_bytes == 0 or outcome.ended != "done":
        assert (outcome.ended, outcome.kind) == ("error", TransientError.__name__), outcome
        assert str(home) in outcome.message, "where"
        assert any(word in outcome.message for word in ("room", "full", "Free space"))
        assert "again" in outcome.message, "what next"
        assert Releases(config.load(home)).live() == live
        with retrieve.open_live(config.load(home)) as reader:
            assert len(reader.profiles)
    assert children.run(step, home, NEXT).ended == "done"
    assert facts(home) == expected
