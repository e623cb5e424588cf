"""Features: what a ranker is told of a batch of users, and when it is told nothing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from rankers import PINS, Home, nth

from pinnersage import erase, features, retrieve
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.stores import embeddings


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    made.day(0, {1: [(10, 2.5), (20, 0.5)], 2: [(30, 1.0)]})
    return made


def test_a_batch_is_answered_in_its_order_with_the_release_it_comes_from(home):
    told = home.served([2, 99, 1, 2])

    assert [user.user_id for user in told.users] == [2, 99, 1, 2]
    assert [user.medoid_ids for user in told.users] == [(30,), (), (10, 20), (30,)]
    assert told.users[2] == features.UserFeatures(
        1,
        (10, 20),
        (2.5, 0.5),
        (2, 3),
        (
            datetime(2026, 2, 1, 0, 0, 0, 123_457, tzinfo=UTC),
            datetime(2026, 2, 1, 0, 0, 1, 123_457, tzinfo=UTC),
        ),
    )
    assert told.users[1].reason == "unknown_user"
    live = home.releases.live()
    assert (told.release, told.medoids_day, told.embeddings) == (
        live.number, nth(0), home.embeddings,
    )  # fmt: skip
    assert told.age_days == 0.25
    assert told.vectors is None


def test_vectors_are_those_of_the_medoids_in_the_releases_embeddings(home):
    told = home.served([1, 99, 2], embeddings=True)

    table = embeddings.named(home.lake, told.embeddings)
    rows = {pin: np.asarray(table.matrix[PINS.index(pin)], np.float32) for pin in PINS}
    assert [v.shape for v in told.vectors] == [(2, 4), (0, 4), (1, 4)]
    assert all(v.dtype == np.float32 for v in told.vectors)
    np.testing.assert_array_equal(told.vectors[0], [rows[10], rows[20]])
    np.testing.assert_array_equal(told.vectors[2], [rows[30]])


def test_nobody_asked_for_is_nobody_told_of(home):
    told = home.served([], embeddings=True)

    assert told.users == ()
    assert told.vectors == ()


def test_a_blocked_pin_is_no_feature_and_a_user_without_others_has_none(home):
    home.block(20)
    home.block(30)

    told = home.served([1, 2], embeddings=True)

    assert told.users[0].medoid_ids == (10,)
    assert told.users[0].importance == (2.5,)
    assert (told.users[1].medoid_ids, told.users[1].reason) == ((), "blocked")
    assert [v.shape for v in told.vectors] == [(1, 4), (0, 4)]


@pytest.mark.parametrize(("micros", "reason"), [(0, None), (1, "too_old")])
def test_a_release_gives_features_until_it_is_too_old_and_not_a_moment_longer(home, micros, reason):
    home.now = end_of(nth(0)) + timedelta(days=7, microseconds=micros)

    told = home.served([1, 99], embeddings=True)

    assert told.users[0].reason == reason
    assert bool(told.users[0].medoid_ids) == (reason is None)
    assert told.users[1].reason == (reason or "unknown_user")
    assert told.release == 1


def test_the_limit_of_age_is_a_setting(tmp_path):
    home = Home(tmp_path, features={"max_age_days": 0.5})
    home.day(0, {1: [(10, 1.0)]})
    assert home.served([1]).users[0].medoid_ids == (10,)

    home.now = end_of(nth(0)) + timedelta(hours=13)

    assert home.served([1]).users[0].reason == "too_old"


def test_a_medoid_without_an_embedding_is_an_error_and_no_vector(home):
    home.now = home.now + timedelta(days=1)
    home.day(1, {1: [(77, 1.0)]})

    assert home.served([1]).users[0].medoid_ids == (77,)
    with pytest.raises(DataError, match=r"Medoids \[77\] have no embedding"):
        home.served([1], embeddings=True)


def test_an_id_that_can_be_no_key_is_an_error(home):
    with pytest.raises(DataError, match="600 bytes"):
        home.served(["x" * 600])


def test_users_are_read_in_one_go(home, monkeypatch):
    with retrieve.open_live(home.settings) as reader:
        asked = []
        get_many = reader.profiles.get_many
        monkeypatch.setattr(
            reader.profiles, "get_many", lambda keys: asked.append(keys) or get_many(keys)
        )
        features.online(reader, [1, 2], now=home.now, config=home.settings.features)

    assert asked == [[b"1", b"2"]]


def test_an_erased_user_is_unknown_also_where_a_store_still_holds_them(home, monkeypatch):
    monkeypatch.setattr(erase, "from_version", lambda *_: False)
    erase.run("2", "ann", "asked", end_of(nth(0)), "salt", home.settings)

    told = home.served([1, 2])

    assert [user.reason for user in told.users] == [None, "unknown_user"]
