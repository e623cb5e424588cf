"""A state is a function of the set of events: order and repeats do not matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.online import state
from pinnersage.online.state import Action

MOST = 4

actions = st.builds(
    Action,
    acted_at=st.integers(-5, 30),  # few times, so that many tie
    pin=st.sampled_from(["p", "q", "ü", "10", "9"]),
    event=st.integers(0, 12).map(lambda n: state.event_of(f"e{n}")),
)


def naive(given, most=MOST):
    """All there were, the latest of each event, then the newest: with nothing ever forgotten."""
    newest = {
        event: max(a for a in given if a.event == event) for event in {a.event for a in given}
    }
    return tuple(sorted(newest.values())[-most:])


@given(st.lists(actions, max_size=40), st.data())
def test_any_order_in_any_parts_with_any_repeats_gives_the_same_state(events, data):
    again = data.draw(st.lists(st.sampled_from(events), max_size=20)) if events else []
    mixed = data.draw(st.permutations([*events, *again]))
    found, at = (), 0
    while at < len(mixed):
        size = data.draw(st.integers(1, 7))
        found = state.merged(found, mixed[at : at + size], MOST)
        at += size
    assert found == naive(events)


@given(st.lists(actions, max_size=30), st.data())
def test_a_replay_of_any_prefix_changes_nothing(events, data):
    found = state.merged((), events, MOST)
    prefix = events[: data.draw(st.integers(0, len(events)))]
    assert state.merged(found, prefix, MOST) == found


@given(st.lists(actions, max_size=30), st.integers(-6, 31))
def test_the_newest_of_all_cut_at_a_time_are_the_newest_since_that_time(events, start):
    later = [action for action in naive(events, 100) if action.acted_at >= start]
    assert state.since(state.merged((), events, MOST), start) == tuple(later[-MOST:])


def test_the_next_action_pushes_out_the_oldest():
    full = state.merged((), [Action(n, "p", state.event_of(str(n))) for n in range(MOST)], MOST)
    more = state.merged(full, [Action(99, "q", state.event_of("new"))], MOST)
    assert [action.acted_at for action in more] == [1, 2, 3, 99]
    assert state.merged(full, [Action(-1, "q", state.event_of("late"))], MOST) == full


@given(st.lists(actions, max_size=30))
def test_what_is_packed_comes_back_and_equal_states_are_equal_bytes(events):
    found = state.merged((), events, 30)
    assert state.unpack(state.pack(found)) == found
    assert state.pack(state.merged((), events[::-1], 30)) == state.pack(found)


@given(st.lists(actions, min_size=1, max_size=10), st.data())
def test_a_changed_byte_is_noticed(events, data):
    packed = bytearray(state.pack(state.merged((), events, 30)))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataError, match="damaged online state"):
        state.unpack(bytes(packed))


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 20, -1])
def test_a_state_cut_short_is_noticed(cut):
    packed = state.pack((Action(1, "pin", state.event_of("e")),))
    with pytest.raises(DataError, match="damaged online state"):
        state.unpack(packed[:cut])


def test_an_event_of_another_version_says_which():
    packed = bytearray(state.pack(()))
    packed[2] = 9
    with pytest.raises(DataError, match="format 9, this code reads 1"):
        state.unpack(bytes(packed))
