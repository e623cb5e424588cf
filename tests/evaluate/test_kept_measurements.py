"""Kept: what was measured comes back as it was, for the same question only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.evaluate.kept import Kept, packed, unpacked
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.policies import BUDGETS
from pinnersage.evaluate.retrieval import Key, Retrieval

finite = st.floats(allow_nan=False, allow_infinity=False)


def sums(n):
    lists = st.lists(finite, min_size=n, max_size=n).map(lambda x: np.array(x, np.float64))
    return st.builds(Sums, lists, lists)


@st.composite
def measurements(draw):
    """What is measured of any number of cases, none included."""
    n = draw(st.integers(0, 4))
    keys = draw(
        st.lists(
            st.builds(Key, st.text(max_size=5), st.sampled_from(BUDGETS)),
            max_size=3, unique=True,
        )
    )  # fmt: skip
    rows = st.lists(st.integers(0, 9), max_size=4).map(lambda x: np.array(x, np.intp))
    return Retrieval(
        {key: draw(st.dictionaries(st.text(max_size=5), sums(n), max_size=3)) for key in keys},
        {key: draw(rows) for key in keys},
        draw(sums(n)),
        draw(sums(n)),
    )


def plain(found):
    """Measurements as what can be compared, types included."""

    def array(values):
        return values.dtype.str, values.tolist()

    return (
        {k: {m: tuple(map(array, s)) for m, s in of.items()} for k, of in found.measured.items()},
        {k: array(rows) for k, rows in found.come.items()},
        tuple(map(array, found.interests)),
        tuple(map(array, found.vectors)),
    )


@given(measurements())
def test_what_is_packed_comes_back_bit_by_bit(found):
    assert plain(unpacked(packed(found))) == plain(found)
    assert packed(unpacked(packed(found))) == packed(found)


def a_measurement(number):
    one = Sums(np.array([number, 0.0]), np.array([1.0, 2.0]))
    key = Key("top 1, equal shares", "equal cost")
    return Retrieval({key: {"recall, new": one}}, {key: np.array([3], np.intp)}, one, one)


def counting(number):
    """What makes a measurement, and the list that grows by each call."""
    calls = []

    def make():
        calls.append(number)
        return a_measurement(number)

    return make, calls


def test_a_question_is_answered_once(tmp_path):
    make, calls = counting(5.0)
    first = Kept(tmp_path / "kept", "input a")("last pin", make)
    again = Kept(tmp_path / "kept", "input a")("last pin", make)
    assert plain(first) == plain(again) == plain(a_measurement(5.0))
    assert calls == [5.0]


@pytest.mark.parametrize(("depends_on", "name"), [("input b", "one"), ("input a", "two")])
def test_another_question_is_another_answer(tmp_path, depends_on, name):
    Kept(tmp_path, "input a")("one", counting(5.0)[0])
    make, calls = counting(6.0)
    assert plain(Kept(tmp_path, depends_on)(name, make)) == plain(a_measurement(6.0))
    assert calls == [6.0]


def test_what_was_interrupted_is_measured_again(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    kept = Kept(tmp_path, "input a")
    with pytest.raises(KeyboardInterrupt):
        kept("one", interrupted)
    assert not list(tmp_path.iterdir())
    make, calls = counting(5.0)
    kept("one", make)
    assert calls == [5.0]


@pytest.mark.parametrize("harm", ["cut", "other", "empty"])
def test_a_damaged_file_is_named_and_never_read_as_something_else(tmp_path, harm):
    kept = Kept(tmp_path, "input a")
    kept("one", counting(5.0)[0])
    [path] = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(
        {"cut": data[: len(data) // 2], "other": b"not this\n" * 9, "empty": b""}[harm]
    )
    with pytest.raises(
        DataError, match=r"is damaged: .* Remove it; what it held is measured again"
    ):
        kept("one", counting(5.0)[0])
    path.unlink()
    assert plain(kept("one", counting(5.0)[0])) == plain(a_measurement(5.0))
