"""Next action: moments, what is known at each, and accuracy, against naive twins."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_logs import actions_of, drawn_log, log_of, nth, with_another_future

from pinnersage.evaluate import next_action
from pinnersage.evaluate.cases import DAY_US, start_us
from pinnersage.evaluate.histories import Represented
from pinnersage.evaluate.models import DecayAverage, EveryPin, Fixed, LastPin
from pinnersage.evaluate.next_action import of_days

DAYS = [nth(n) for n in range(5, 11)]
WINDOW = 4
MINUTE = 60_000_000
logs = st.integers(0, 300).map(drawn_log)
gaps = st.sampled_from([0, 30, 600])


def naive(log, gap_minutes):
    """Each moment as (user, time, rows known, their ages, pins and whether each is new)."""
    found, empty = [], 0
    for user in range(len(log.user_ids)):
        own = [(time, row) for who, time, row in actions_of(log) if who == user]
        sittings = []
        for i, (time, _) in enumerate(own):
            if not i or time - own[i - 1][0] > gap_minutes * MINUTE:
                sittings.append([])
            sittings[-1].append(i)
        for sitting in sittings:
            now = own[sitting[0]][0]
            if not start_us(DAYS[0]) <= now < start_us(DAYS[-1] + timedelta(days=1)):
                continue
            before = own[: sitting[0]]
            known = [(time, row) for time, row in before if time >= now - WINDOW * DAY_US]
            if not known:
                empty += 1
                continue
            pins = list(dict.fromkeys(own[i][1] for i in sitting))
            seen = {row for _, row in before}
            found.append(
                (
                    user,
                    now,
                    [row for _, row in known],
                    [(now - time) / DAY_US for time, _ in known],
                    [(pin, pin not in seen) for pin in pins],
                )
            )
    return found, empty


def listed(moments):
    """Moments in the form of the naive twin."""
    known, wanted = moments.histories, moments.targets
    return [
        (
            known.users[i],
            known.now_us[i],
            known.rows[known.offsets[i] : known.offsets[i + 1]].tolist(),
            known.ages_days[known.offsets[i] : known.offsets[i + 1]].tolist(),
            list(
                zip(
                    wanted.rows[wanted.offsets[i] : wanted.offsets[i + 1]].tolist(),
                    wanted.new[wanted.offsets[i] : wanted.offsets[i + 1]].tolist(),
                    strict=True,
                )
            ),
        )
        for i in range(known.users.size)
    ]


@given(logs, gaps)
def test_moments_are_those_of_a_naive_twin(log, gap):
    moments = of_days(log, DAYS, WINDOW, gap, seed=0)
    expected, empty = naive(log, gap)
    assert listed(moments) == expected
    assert moments.left_out == {"moments with nothing in the window before": empty}


@given(logs, gaps, st.integers(1, 5))
def test_what_comes_later_changes_no_earlier_moment(log, gap, n):
    """Sittings that end before the change; one that goes on into it gets other targets."""
    change = start_us(DAYS[n])
    other = with_another_future(log, change, seed=n)
    quiet = change - gap * MINUTE
    one, two = (
        [m for m in listed(of_days(some, DAYS, WINDOW, gap, seed=0)) if m[1] < change]
        for some in (log, other)
    )
    assert [m[:4] for m in one] == [m[:4] for m in two]
    last = {m[:2]: max((t for u, t, _ in actions_of(log) if u == m[0] and t < change)) for m in one}
    over = [i for i, m in enumerate(one) if last[m[:2]] < quiet]
    assert [one[i] for i in over] == [two[i] for i in over]


def test_users_without_an_action_are_nobodys_moment():
    start = start_us(DAYS[0])
    log = drawn_log(0)
    some = log_of([(0, start - 5, 1), (0, start, 2), (2, start, 3)], log.matrix)
    silent = some._replace(user_ids=log.user_ids[:4], offsets=np.array([0, 2, 2, 3, 3]))
    assert listed(of_days(silent, DAYS, WINDOW, 0, seed=0)) == naive(silent, 0)[0]


def test_of_many_moments_a_seeded_sample_is_taken_and_the_rest_counted(monkeypatch):
    log = drawn_log(3)
    every = listed(of_days(log, DAYS, WINDOW, 0, seed=0))
    monkeypatch.setattr(next_action, "MOST", 5)
    drawn = [of_days(log, DAYS, WINDOW, 0, seed=seed) for seed in range(9)]
    for moments in drawn:
        kept = listed(moments)
        assert len(kept) == 5
        assert [m for m in every if m in kept] == kept, "in their order"
        assert moments.left_out["moments beyond the sample"] == len(every) - 5
    assert listed(drawn[0]) == listed(of_days(log, DAYS, WINDOW, 0, seed=0))
    assert len({str(listed(moments)) for moments in drawn}) > 1


def accuracy(models, moments, matrix, threshold, which):
    """Of one kind of actions, asked for among others."""
    kinds = ("repeats", "all", "new")
    found = next_action.accuracy(models, moments, matrix, threshold, kinds)
    return {name: of[which] for name, of in found.items()}


@given(logs, st.sampled_from(["all", "new", "repeats"]), st.sampled_from([0.3, 0.8]))
def test_accuracy_is_the_share_of_actions_near_to_a_vector(log, which, threshold):
    moments = of_days(log, DAYS, WINDOW, 30, seed=0)
    models = {
        "last": LastPin(log.matrix),
        "average": DecayAverage(log.matrix, 0.1),
        "oracle": EveryPin(log.matrix),
    }
    found = accuracy(models, moments, log.matrix, threshold, which)
    for name, model in models.items():
        made = model.represent(moments.histories)
        for i, (*_, targets) in enumerate(listed(moments)):
            vectors = made.vectors[made.offsets[i] : made.offsets[i + 1]]
            counted = [pin for pin, new in targets if which == "all" or new == (which == "new")]
            near = [pin for pin in counted if (vectors @ log.matrix[pin]).max() >= threshold]
            assert (found[name].hits[i], found[name].counts[i]) == (len(near), len(counted))
    assert np.all(found["oracle"].hits >= found["last"].hits), "it may pick the last pin too"


class Nothing(Fixed):
    """A model that knows nobody."""

    name = "Nothing"

    def represent(self, histories):
        n = histories.users.size
        none = np.empty((0, 6), np.float32)
        return Represented(np.zeros(n + 1, np.intp), none, np.empty(0), np.empty(0, np.intp))


def test_a_user_without_a_vector_is_never_right():
    log = drawn_log(2)
    moments = of_days(log, DAYS, WINDOW, 30, seed=0)
    found = accuracy({"none": Nothing()}, moments, log.matrix, -1.0, "all")["none"]
    assert found.value == 0
    assert found.counts.sum() == moments.targets.rows.size


@pytest.mark.parametrize("which", ["all", "new"])
def test_no_moment_at_all_has_no_accuracy(which):
    log = drawn_log(2)
    moments = of_days(log, [nth(40)], WINDOW, 30, seed=0)
    models = {"last": LastPin(log.matrix), "average": DecayAverage(log.matrix, 0.1)}
    found = accuracy(models, moments, log.matrix, 0.5, which)
    assert [sums.value for sums in found.values()] == [None, None]
