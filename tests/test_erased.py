"""Erased: the record tells who is erased to whoever has an id, and to nobody else."""

from datetime import UTC, datetime

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage import erased, queries
from pinnersage.erased import Erased, Erasure
from pinnersage.errors import DataError
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import canonical

AT = datetime(2026, 4, 6, 12, 30, tzinfo=UTC)


def record_with(*users, salt="5a17"):
    none = Erased(salt=salt, orders=())
    orders = (Erasure(user=none.digest(user), by="ann", reason="asked", at=AT) for user in users)
    return Erased(salt=salt, orders=tuple(orders))


def written(record):
    return canonical(record.model_dump(mode="json"))


def test_of_some_users_those_are_found_who_are_erased():
    record = record_with("ann", "7", "\U0001f9f6")
    assert record.among(["ann", "7", "70", "Ann", "\U0001f9f6", ""]) == {"ann", "7", "\U0001f9f6"}
    assert record_with().among(["ann"]) == set()


def test_another_salt_gives_another_digest():
    assert not record_with("ann").users & record_with("ann", salt="other").users
    assert "ann" not in record_with("annabel").model_dump_json().replace('"by":"ann"', "")


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1)
)
def test_sql_finds_the_same_users(users):
    """The queries compute the digest for themselves."""
    record = record_with(*users[::2])
    for name, table in (("actions", "read_actions"), ("user_actions", "bucket_actions")):
        with duckdb.connect() as con:
            con.execute(
                f"CREATE TABLE {table} AS SELECT unnest($users) AS user_id", {"users": users}
            )
            rows = con.sql(queries.text(f"{name}/erased"), params=record.parameters()).fetchall()
        assert {user for (user,) in rows} == record.among(users) == set(users[::2])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_sql_finds_the_same_numbers(users):
    record = record_with(*map(str, users[::2]))
    with duckdb.connect() as con:
        con.execute("CREATE TABLE read_actions AS SELECT unnest($users::BIGINT[]) AS user_id",
                    {"users": users})  # fmt: skip
        rows = con.sql(queries.text("actions/erased"), params=record.parameters()).fetchall()
    assert {user for (user,) in rows} == set(users[::2])


def test_a_watch_tells_of_numbers_and_texts_alike(tmp_path):
    now = [0.0]
    watch = erased.Watch(Folder(tmp_path), lambda: now[0])
    assert not watch.has(7)
    Folder(tmp_path).write(erased.RECORD, written(record_with("7")))
    now[0] += 2.0
    assert watch.has(7)
    assert watch.has("7")
    assert not watch.has(70)
    (tmp_path / erased.RECORD).unlink()
    now[0] += 2.0
    with pytest.raises(DataError, match="is gone, and there were orders in it"):
        watch.has(70)


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b'{"orders": []}', b'{"salt": "1"}'])
def test_what_has_no_orders_in_it_is_damaged(content):
    with pytest.raises(DataError, match=r"damaged.*runbook: damaged erasure record"):
        erased.parsed(content, "here")


def test_no_record_is_no_order():
    record = erased.parsed(None, "here")
    assert (record.orders, record.under_way, record.among(["ann"])) == ((), False, set())


def test_an_order_is_under_way_until_it_is_done():
    record = record_with("ann")
    assert record.under_way
    done = tuple(order.model_copy(update={"done": AT}) for order in record.orders)
    assert not Erased(salt=record.salt, orders=done).under_way
    assert erased.parsed(written(record), "here") == record
