"""Embeddings: versions of a matrix that cannot disagree with its pin ids."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from events import vectors
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.stores import embeddings
from pinnersage.stores.lake import Lake, Layout

SINCE = date(2026, 1, 1)


@pytest.fixture(params=["int64", "string"])
def lake(request, tmp_path):
    made = Lake(tmp_path / "lake")
    made.create(Layout(n_buckets=1, user_id="int64", pin_id=request.param))
    return made


def ids_of(lake, numbers):
    kind = pa.type_for_alias(lake.layout.pin_id)
    return pa.array(numbers, pa.int64()).cast(kind)


def write(lake, numbers, matrix, **changes):
    arguments = {"valid_from": SINCE, "first_day": SINCE, "max_bad_share": 0.0} | changes
    return embeddings.write(lake, ids_of(lake, numbers), matrix, **arguments)


def opened(lake, imported):
    return embeddings.named(lake, imported.version)


def test_row_of_a_pin_is_its_vector_whatever_the_order_given(lake):
    numbers, matrix = [30, 4, 100, 7], vectors(4)
    table = opened(lake, write(lake, numbers, matrix))
    ids = ids_of(lake, numbers)
    assert table.pin_ids.to_pylist() == sorted(ids.to_pylist())
    np.testing.assert_array_equal(table.matrix[table.rows_of(ids)], matrix)
    assert table.rows_of(ids_of(lake, [5, 4]))[0] == -1
    assert isinstance(table.matrix, np.memmap)


ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=40),
    st.lists(st.text(st.characters(codec="utf-8")), unique=True, max_size=40),
)


@given(ids, st.data())
def test_few_pins_and_many_are_found_in_the_same_rows(drawn, data):
    kind = pa.string() if drawn and isinstance(drawn[0], str) else pa.int64()
    stood = pa.array(drawn, kind)
    stood = stood.take(pc.sort_indices(stood))
    table = embeddings.Embeddings("v", SINCE, np.empty((len(drawn), 1)), stood, Path(), "ref")
    strangers = data.draw(
        st.lists(st.text(max_size=3) if kind == pa.string() else st.integers(-9, 9))
    )
    wanted = [*drawn, *strangers, None]
    few = table.rows_of(wanted)
    many = table.rows_of(wanted * (embeddings.FEW // len(wanted) + 1))
    assert few.tolist() == many[: len(wanted)].tolist()
    known = stood.to_pylist()
    assert few.tolist() == [known.index(pin) if pin in known else -1 for pin in wanted]


def test_name_is_of_the_content_in_any_order(lake):
    matrix = vectors(4)
    one = write(lake, [3, 1, 2, 4], matrix)
    same = write(lake, [1, 2, 3, 4], matrix[[1, 2, 0, 3]])
    other = write(lake, [1, 2, 3, 5], matrix[[1, 2, 0, 3]])
    assert one.version == same.version != other.version


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_come_out_at_unit_length(lake, dtype):
    given = (vectors(50) * np.linspace(0.1, 9, 50)[:, None]).astype(dtype)
    imported = write(lake, range(50), given)
    table = opened(lake, imported)
    lengths = np.linalg.norm(np.asarray(table.matrix, dtype=float), axis=1)
    assert abs(lengths - 1).max() < embeddings.UNIT_TOLERANCE
    assert imported.scaled == 50
    assert table.matrix.dtype == (np.float16 if dtype == np.float16 else np.float32)


def test_unit_vectors_stay_as_they_are(lake):
    for matrix in (vectors(50), vectors(50, seed=1).astype(np.float16)):
        imported = write(lake, range(50), matrix)
        assert imported.scaled == 0
        table = opened(lake, imported)
        np.testing.assert_array_equal(table.matrix[table.rows_of(ids_of(lake, range(50)))], matrix)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_few_bad_vectors_are_dropped_and_counted(lake, bad):
    matrix = vectors(100)
    matrix[42] = bad if bad == 0 else matrix[42]
    matrix[42, 3] = bad
    imported = write(lake, range(100), matrix, max_bad_share=0.01)
    assert (imported.pins, imported.dropped, imported.examples) == (99, 1, ["42"])
    assert opened(lake, imported).rows_of(ids_of(lake, [42]))[0] == -1


def test_many_bad_vectors_stop_the_import_and_name_pins(lake):
    matrix = vectors(100)
    matrix[[7, 9]] = np.nan
    with pytest.raises(DataError, match=r"2 of 100 vectors.*limit 1.0%.*first pins: 7, 9"):
        write(lake, range(100), matrix, max_bad_share=0.01)
    assert lake.versions("embeddings") == []


def test_bad_vectors_only_are_refused_whatever_the_limit(lake):
    with pytest.raises(DataError, match="3 of 3 vectors"):
        write(lake, range(3), np.zeros((3, 4), np.float32), max_bad_share=1.0)


@pytest.mark.parametrize(
    ("numbers", "matrix", "expected"),
    [
        ([1, 2, 3], vectors(2), "2 vectors for 3 pins"),
        ([1, 2], vectors(3), "3 vectors for 2 pins"),
        ([], np.zeros((0, 4), np.float32), "0 vectors for 0 pins"),
        ([1, 2, 2, 1, 5], vectors(5), "2 pin ids occur more than once, such as"),
        ([1, None], vectors(2), "1 pins have no id"),
        ([1, 2], np.zeros(2, np.float32), r"float32\[2\]; expected floats, one row a pin"),
        ([1, 2], np.ones((2, 3), np.int64), r"int64\[2, 3\]; expected floats"),
        ([1, 2], np.zeros((2, 3, 4)), "expected floats, one row a pin"),
    ],
)
def test_what_cannot_be_one_vector_a_pin_is_refused(lake, numbers, matrix, expected):
    with pytest.raises(DataError, match=expected):
        write(lake, numbers, matrix)
    assert lake.versions("embeddings") == []


def test_blocks_change_nothing(lake, monkeypatch):
    matrix = vectors(100) * 2
    whole = write(lake, range(100), matrix)
    monkeypatch.setattr(embeddings, "BLOCK", 7)
    assert write(lake, range(100), matrix) == whole


def test_a_day_uses_the_newest_version_valid_at_its_end(lake):
    first = write(lake, [1], vectors(1, seed=1), valid_from=date(2026, 1, 1))
    second = write(lake, [1], vectors(1, seed=2), valid_from=date(2026, 2, 1))

    def at(*day):
        return embeddings.valid_at(lake, "embeddings", date(*day)).partition["version"]

    assert at(2026, 1, 1) == at(2026, 1, 31) == first.version
    assert at(2026, 2, 1) == at(2027, 1, 1) == second.version
    with pytest.raises(DataError, match=r"valid on 2025-12-31: the first is valid from 2026-01-01"):
        at(2025, 12, 31)


def test_no_version_at_all_names_the_commands(lake):
    with pytest.raises(DataError, match=r"there is none at all.*init.*embed"):
        embeddings.valid_at(lake, "embeddings", SINCE)


def test_of_versions_valid_from_one_day_the_last_import_counts(lake):
    def best():
        return embeddings.valid_at(lake, "embeddings", SINCE).partition["version"]

    for seed in (1, 2, 3, 1, 2):
        imported = write(lake, [1], vectors(1, seed=seed))
        assert best() == imported.version
        write(lake, [1], vectors(1, seed=seed))  # again at once: nothing changes
        assert best() == imported.version
    assert len(lake.versions("embeddings")) == 3


def test_a_version_imported_again_without_a_day_keeps_its_own(lake):
    write(lake, [1], vectors(1), valid_from=date(2026, 1, 1))
    before = lake.versions("embeddings")

    write(lake, [1], vectors(1), valid_from=None, first_day=date(2026, 3, 1))

    assert lake.versions("embeddings") == before


def test_a_version_never_moves_to_a_later_day(lake):
    write(lake, [1], vectors(1), valid_from=date(2026, 1, 1))
    before = lake.versions("embeddings")

    write(lake, [1], vectors(1), valid_from=date(2026, 2, 1))

    assert lake.versions("embeddings") == before
