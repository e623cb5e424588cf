import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinnersage.errors import ConfigError
from pinnersage.synthetic import World, actions_of, pins_of, write

SMALL = World(
    n_users=60,
    n_pins=500,
    n_topics=10,
    dimensions=32,
    n_days=40,
    first_day=date(2026, 1, 1),
    seed=11,
    duplicate_share=0.1,
)
TEXT = replace(SMALL, id_type="text", embedding_dtype="float16")


def hashes(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def all_actions(folder):
    return pa.concat_tables(pq.read_table(p) for p in sorted((folder / "actions").iterdir()))


def history(world, number):
    return pa.concat_tables(actions_of(world, d, np.array([number])) for d in range(world.n_days))


@pytest.fixture(scope="module", params=[SMALL, TEXT], ids=["int", "text"])
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return request.param, folder, write(request.param, folder)


def test_same_seed_writes_the_same_bytes(written, tmp_path):
    world, folder, report = written
    again = write(world, tmp_path)
    assert hashes(tmp_path) == hashes(folder)
    assert replace(again, folder=report.folder) == report


def test_writing_twice_leaves_the_same_files(tmp_path):
    write(SMALL, tmp_path)
    before = hashes(tmp_path)
    write(SMALL, tmp_path)
    assert hashes(tmp_path) == before


def test_another_seed_is_another_world(tmp_path):
    write(SMALL, tmp_path / "a")
    write(replace(SMALL, seed=12), tmp_path / "b")
    a, b = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    assert a.keys() == b.keys()
    assert not set(a.values()) & set(b.values())


def test_chunks_of_users_change_no_byte(written, tmp_path):
    world, folder, _ = written
    write(world, tmp_path, users_per_chunk=7)
    assert hashes(tmp_path) == hashes(folder)


def test_row_groups_do_not_follow_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("pinnersage.synthetic._ROW_GROUP", 50)
    busy = replace(SMALL, n_days=2, actions_per_user=500)
    write(busy, tmp_path / "a", users_per_chunk=3)
    write(busy, tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    metadata = pq.ParquetFile(tmp_path / "a" / "actions" / "2026-01-01.parquet").metadata
    assert metadata.num_row_groups == -(-metadata.num_rows // 50)
    assert metadata.num_row_groups > 1


def test_a_user_is_the_same_among_more_users_and_more_days():
    larger = replace(SMALL, n_users=1_000_000, n_days=400)
    assert history(larger, 5).slice(0, history(SMALL, 5).num_rows) == history(SMALL, 5)


def test_actions_have_the_columns_and_types_of_the_log(written):
    world, folder, report = written
    actions = all_actions(folder)
    key = pa.int64() if world.id_type == "int" else pa.string()
    assert actions.schema.remove_metadata() == pa.schema(
        {
            "user_id": key,
            "pin_id": key,
            "action": pa.string(),
            "acted_at": pa.timestamp("us", "UTC"),
            "event_id": key,
        }
    )
    assert actions.num_rows == report.n_actions
    assert not any(column.null_count for column in actions.columns)
    assert set(actions["action"].to_pylist()) == {"repin", "click", "close-up", "hide"}


def test_every_day_has_a_file_and_holds_only_its_own_actions(written):
    world, folder, _ = written
    assert [p.stem for p in sorted((folder / "actions").iterdir())] == [
        d.isoformat() for d in world.days
    ]
    for day in world.days:
        moments = pq.read_table(folder / "actions" / f"{day}.parquet")["acted_at"].to_pylist()
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        assert all(start <= at < start + timedelta(days=1) for at in moments)


def test_event_ids_are_unique(written):
    events = all_actions(written[1])["event_id"].to_pylist()
    assert len(set(events)) == len(events)


def test_every_pin_of_an_action_exists_when_it_is_acted_on(written):
    _, folder, _ = written
    pins = pq.read_table(folder / "pins.parquet")
    created = dict(zip(pins["pin_id"].to_pylist(), pins["created_at"].to_pylist(), strict=True))
    actions = all_actions(folder)
    for pin, at in zip(actions["pin_id"].to_pylist(), actions["acted_at"].to_pylist(), strict=True):
        assert created[pin] <= at


def test_pins_are_sorted_and_titled(written):
    world, folder, report = written
    pins = pq.read_table(folder / "pins.parquet")
    ids = pins["pin_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert len(ids) == world.n_pins == report.n_pins
    assert all(
        topic in title and len(title) > len(topic)
        for topic, title in zip(pins["topic"].to_pylist(), pins["title"].to_pylist(), strict=True)
    )


def test_embeddings_are_unit_rows_of_the_pins(written):
    world, folder, _ = written
    matrix = np.load(folder / "embeddings.npy")
    assert matrix.shape == (world.n_pins, world.dimensions)
    assert matrix.dtype == world.embedding_dtype
    np.testing.assert_allclose(np.linalg.norm(matrix.astype(float), axis=1), 1, atol=1e-3)


def test_pins_of_one_topic_are_nearer_than_others(written):
    world, folder, _ = written
    matrix = np.load(folder / "embeddings.npy").astype(float)
    cosines = matrix @ matrix.T
    topics = pins_of(world).topics
    same = topics[:, None] == topics
    np.fill_diagonal(same, val=False)
    assert cosines[same].min() > 0.5
    assert np.quantile(cosines[topics[:, None] != topics], 0.99) < 0.5


def test_planted_duplicates_are_near_their_original(written):
    _, folder, report = written
    pins = pq.read_table(folder / "pins.parquet")
    matrix = np.load(folder / "embeddings.npy").astype(float)
    row = {pin: i for i, pin in enumerate(pins["pin_id"].to_pylist())}
    pairs = [(i, row[o]) for i, o in enumerate(pins["duplicate_of"].to_pylist()) if o is not None]
    copies, originals = np.array(pairs).T
    assert len(pairs) == report.n_duplicates > 20
    assert not set(copies) & set(originals)
    assert np.einsum("ij,ij->i", matrix[copies], matrix[originals]).min() >= 0.98


def test_shares_are_what_was_asked_for():
    many = replace(SMALL, n_pins=40_000, duplicate_share=0.2, low_quality_share=0.3)
    pins = pins_of(many)
    assert (pins.originals != np.arange(many.n_pins)).mean() == pytest.approx(0.2, abs=0.01)
    assert (pins.quality < 0.3).mean() == pytest.approx(0.3, abs=0.01)
    assert not ((pins.quality >= 0.3) & (pins.quality < 0.4)).any()


def test_no_pin_is_planted_when_shares_are_zero():
    pins = pins_of(replace(SMALL, duplicate_share=0, low_quality_share=0))
    assert np.array_equal(pins.originals, np.arange(SMALL.n_pins))
    assert pins.quality.min() >= 0.4


def test_without_noise_every_action_lies_in_an_interest_of_its_user(tmp_path):
    write(replace(SMALL, noise_share=0), tmp_path)
    interests = {}
    for r in pq.read_table(tmp_path / "interests.parquet").to_pylist():
        assert SMALL.days[0] <= r["first_day"] <= r["last_day"] <= SMALL.days[-1]
        assert r["weight"] > 0
        key = (r["user_id"], r["topic"])
        interests.setdefault(key, []).append((r["first_day"], r["last_day"]))
    pins = pq.read_table(tmp_path / "pins.parquet")
    topic = dict(zip(pins["pin_id"].to_pylist(), pins["topic"].to_pylist(), strict=True))
    actions = all_actions(tmp_path).to_pylist()
    assert actions
    for a in actions:
        spans = interests[a["user_id"], topic[a["pin_id"]]]
        assert any(first <= a["acted_at"].date() <= last for first, last in spans)
        assert a["action"] != "hide"


def test_interests_come_and_go():
    world = replace(SMALL, n_users=300, n_days=200)
    from pinnersage.synthetic import _interests_table

    interests = _interests_table(world, np.arange(300)).to_pylist()
    assert sum(r["first_day"] > world.days[0] for r in interests) > 100
    assert sum(r["last_day"] < world.days[-1] for r in interests) > 100


def test_activity_is_heavy_tailed_around_its_median():
    world = replace(SMALL, n_users=3_000, n_days=90)
    users = np.arange(world.n_users)
    counts = np.zeros(world.n_users)
    for day in range(world.n_days):
        ids = actions_of(world, day, users)["user_id"].to_numpy()
        counts += np.bincount(ids - 1_000_000, minlength=world.n_users)
    assert np.median(counts) == pytest.approx(60, rel=0.15)
    assert counts.max() > 1_000
    assert counts.sum() == pytest.approx(world.expected_actions, rel=0.15)


def test_popular_pins_repeat():
    world = replace(SMALL, n_users=2_000)
    pins = actions_of(world, 0, np.arange(2_000))["pin_id"].to_numpy()
    counts = np.sort(np.unique(pins, return_counts=True)[1])[::-1]
    assert counts[:50].sum() > 3 * counts[-50:].sum()


def test_a_folder_of_another_world_is_refused(tmp_path):
    write(replace(SMALL, n_days=3), tmp_path)
    with pytest.raises(
        ConfigError, match=r"1 files of another world, 2026-01-03\.parquet the first"
    ):
        write(replace(SMALL, n_days=2), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_users": 0}, "n_users is 0"),
        ({"n_days": 0}, "n_days is 0"),
        ({"n_topics": 501}, "500 pins for 501 topics"),
        ({"dimensions": 3}, "dimensions is 3; at least 4"),
        ({"seed": -1}, "seed is -1"),
        ({"actions_per_user": 0}, "actions_per_user is 0"),
        ({"noise_share": 1.1}, "shares must lie in 0 .. 1"),
        ({"duplicate_share": 0.95}, "duplicate_share is 0.95; at most 0.9"),
        ({"id_type": "uuid"}, "id_type 'uuid'"),
        ({"embedding_dtype": "int8"}, "embedding_dtype 'int8'"),
    ],
)
def test_an_impossible_world_says_why(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change)
