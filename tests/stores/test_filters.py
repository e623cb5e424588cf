"""Filters: what points carry, and what differs between two versions of it."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.stores.filters import UNKNOWN, Attributes, Filter, check_filter, differences

KNOWN = st.dictionaries(
    st.integers(0, 30),
    st.tuples(st.sampled_from([UNKNOWN, -3, 0, 20_000]), st.sampled_from([None, "a", "b", "ü"])),
    min_size=1,
    max_size=20,
)


def arrays(points, seed):
    """Rows in some order, and what they carry, topics coded in some order."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(sorted(points)).astype(np.int64)
    topics = tuple(rng.permutation(["a", "b", "ü"]).tolist())
    created = np.array([points[row][0] for row in rows.tolist()], np.int64)
    codes = [points[row][1] for row in rows.tolist()]
    topic = np.array([-1 if name is None else topics.index(name) for name in codes], np.int32)
    return rows, Attributes(created, topic, topics)


@given(KNOWN, KNOWN, st.integers(0, 5))
def test_what_differs_is_what_a_comparison_point_by_point_says(before, after, seed):
    known_rows, known = arrays(before, seed)
    rows, attributes = arrays(after, seed + 1)

    gone, new = differences(known_rows, known, rows, attributes)

    assert set(gone.tolist()) == before.keys() - after.keys()
    changed = {row for row in after if before.get(row) != after[row]}
    assert set(rows[new].tolist()) == changed


@given(KNOWN)
def test_points_carry_what_is_known_of_them(points):
    rows, attributes = arrays(points, 0)

    for row, carried in zip(rows.tolist(), attributes.payloads(), strict=True):
        created, topic = points[row]
        assert carried.get("created", UNKNOWN) == created
        assert carried.get("topic") == topic
        assert None not in carried.values()


def test_nothing_known_is_carried_by_none():
    assert Attributes().payloads() is None
    assert Attributes().names == Filter().asks == []


def test_a_day_is_a_number_from_1970_on():
    assert Filter(fresh_since=date(1970, 1, 1)).since == 0
    assert Filter(fresh_since=date(2026, 4, 6)).since == 20_549
    assert Filter(fresh_since=date(1969, 12, 31)).since == -1
    assert Filter().since is None


def test_a_filter_may_ask_only_what_is_there():
    check_filter(None, [], "v1")
    check_filter(Filter(), [], "v1")
    check_filter(Filter(topics=("a",)), ["topic"], "v1")
    with pytest.raises(DataError, match=r"v1 was built without created and topic.*--created-at"):
        check_filter(Filter(date(2026, 1, 1), ("a",)), [], "v1")
