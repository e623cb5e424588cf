"""A packed profile is the profile, or an error that says what is wrong."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.stores.packing import Profile, key_of, pack, pack_users, unpack

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text("ab-\0 é漢🦆", max_size=40)


@st.composite
def profiles(draw, ids=None):
    text = draw(st.booleans()) if ids is None else ids == "text"
    n = draw(st.integers(0, 12))
    pins = draw(st.lists(TEXT if text else INT64, min_size=n, max_size=n))
    column = np.empty(n, object) if text else np.empty(n, np.int64)
    column[:] = pins
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Profile(
        column,
        rng.exponential(size=n),
        rng.integers(0, 2**32, n, dtype=np.uint32),
        rng.random(n, dtype=np.float32),
        rng.integers(-(2**60), 2**60, n),
    )


def medoids(users, profiles_, first_rank=0, id_type=None):
    rows = [(u, p, i) for u, p in zip(users, profiles_, strict=True) for i in range(len(p))]
    return pa.table(
        {
            "user_id": pa.array([u for u, _, _ in rows], id_type),
            "rank": pa.array([i + first_rank for _, _, i in rows], pa.int32()),
            "pin_id": [p.pin_ids[i] for _, p, i in rows],
            "importance": [p.importance[i] for _, p, i in rows],
            "n_actions": pa.array([int(p.n_actions[i]) for _, p, i in rows], pa.int64()),
            "offset": pa.array([p.offset[i] for _, p, i in rows], pa.float32()),
            "first_acted_at": pa.array([0 for _ in rows], pa.timestamp("us", tz="UTC")),
            "last_acted_at": pa.array(
                [int(p.last_acted_at[i]) for _, p, i in rows], pa.timestamp("us", tz="UTC")
            ),
            "cohesion": pa.array([1.0 for _ in rows], pa.float32()),
        }
    )


def assert_same(left, right):
    for field in dataclasses.fields(Profile):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def two_users(ids="integer", id_type=None, users=(7, 8), first_rank=0):
    made = []
    for seed, n in enumerate((3, 2)):
        rng = np.random.default_rng(seed)
        pins = rng.integers(0, 10**12, n)
        if ids == "text":
            pins = np.array([f"pin-{p}-é" for p in pins], object)
        made.append(
            Profile(
                pins,
                rng.random(n),
                rng.integers(1, 9, n).astype(np.uint32),
                rng.random(n, np.float32),
                rng.integers(0, 10**15, n),
            )
        )
    return made, medoids(users, made, id_type=id_type, first_rank=first_rank)


@given(profiles())
def test_unpacked_is_what_was_packed(profile):
    assert_same(unpack(pack(profile)), profile)


@given(profiles(), st.data())
def test_any_flipped_bit_or_cut_is_noticed(profile, data):
    value = bytearray(pack(profile))
    position = data.draw(st.integers(0, len(value) * 8 - 1))
    value[position // 8] ^= 1 << position % 8
    with pytest.raises(DataError, match="stored"):
        unpack(bytes(value))
    with pytest.raises(DataError, match="stored"):
        unpack(pack(profile)[: data.draw(st.integers(0, len(value) - 1))])


@given(st.binary(max_size=200))
def test_a_foreign_value_is_refused(value):
    with pytest.raises(DataError, match="stored"):
        unpack(value)


@pytest.mark.parametrize("ids", ["integer", "text"])
@pytest.mark.parametrize("first_rank", [0, 1])
def test_a_table_packs_to_what_its_users_pack_to(ids, first_rank):
    made, table = two_users(ids, first_rank=first_rank)
    assert list(pack_users(table)) == [(b"7", pack(made[0])), (b"8", pack(made[1]))]


@pytest.mark.parametrize("id_type", [pa.string(), pa.large_string()])
def test_text_users_make_utf8_keys(id_type):
    made, table = two_users("text", id_type, users=("ü", "z"))
    assert dict(pack_users(table)) == {key_of("ü"): pack(made[0]), b"z": pack(made[1])}


@given(st.lists(profiles("text"), min_size=1, max_size=6))
def test_every_user_of_a_table_comes_back(made):
    made = [profile for profile in made if len(profile)]
    table = medoids(range(len(made)), made, id_type=pa.int64())
    table = pa.concat_tables([table.slice(0, 2), table.slice(2)])  # chunks cut through a user
    packed = dict(pack_users(table)) if made else {}
    assert list(packed) == [key_of(user) for user in range(len(made))]
    for user, profile in enumerate(made):
        assert_same(unpack(packed[key_of(user)]), profile)


def test_a_slice_of_a_table_packs_only_its_rows():
    made, table = two_users("text")
    assert list(pack_users(table.slice(3))) == [(b"8", pack(made[1]))]


def test_dictionary_columns_pack_as_plain_ones():
    _, table = two_users("text")
    column = table["pin_id"].dictionary_encode()
    coded = table.set_column(table.column_names.index("pin_id"), "pin_id", column)
    assert list(pack_users(coded)) == list(pack_users(table))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", None, "Europe/Berlin"])
def test_times_are_microseconds_utc_whatever_the_column(unit, zone):
    _, table = two_users()
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    stamps = pa.array([moment] * 5, pa.timestamp(unit, tz="UTC"))
    stamps = (
        stamps.cast(pa.timestamp(unit))
        if zone is None
        else stamps.cast(pa.timestamp(unit, tz=zone))
    )
    table = table.set_column(table.column_names.index("last_acted_at"), "last_acted_at", stamps)
    value = next(pack_users(table))[1]
    assert unpack(value).last_acted_at.tolist() == [int(moment.timestamp() * 1e6)] * 3


def test_an_empty_table_packs_to_nothing():
    _, table = two_users()
    assert list(pack_users(table.slice(0, 0))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["offset"]), "no column 'offset'"),
        (lambda t: t.take([1, 0, 2, 3, 4]), "row 0, of user 7, has rank 1 where 0"),
        (lambda t: t.take([0, 1, 3, 4, 2]), "row 4, of user 7, has rank 2 where 0"),
        (lambda t: t.take([0, 1, 2, 4]), "row 3, of user 8, has rank 1 where 0"),
        (
            lambda t: t.set_column(
                t.column_names.index("pin_id"), "pin_id", pa.array([1, None, 3, 4, 5])
            ),
            "1 nulls in 'pin_id'",
        ),
    ],
)
def test_a_table_that_is_not_medoids_in_order_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        list(pack_users(change(two_users()[1])))


@pytest.mark.parametrize("user", ["u" * 512, "é" * 256, ""])
def test_an_id_that_no_key_can_hold_is_refused_with_its_start_and_the_limit(user):
    with pytest.raises(DataError, match=rf"starts '{user[:40]}' has {len(user.encode())} .*511"):
        key_of(user)
    _, table = two_users(users=("a", user) if user else ("", "a"), id_type=pa.string())
    with pytest.raises(DataError, match=rf"starts '{user[:40]}' has {len(user.encode())} .*511"):
        list(pack_users(table))


def test_the_longest_key_is_accepted():
    assert len(key_of("u" * 511)) == 511


def test_no_embedding_is_stored():
    made, _ = two_users()
    assert len(pack(made[0])) == 12 + 3 * 32
