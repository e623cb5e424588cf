"""Curves: the paper's plots say what their numbers are, and name nobody."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_logs import drawn_log, log_of, nth

from pinnersage.evaluate import cases, curves, lineup, retrieval
from pinnersage.evaluate.cases import start_us
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.models import LastPin, PinnerSage
from pinnersage.evaluate.policies import SINGLE, Policy
from pinnersage.evaluate.retrieval import Key, Protocol
from pinnersage.evaluate.search import Exact

DAYS = [nth(n) for n in range(5, 11)]
PROTOCOL = Protocol(n_candidates=12, threshold=0.7, seed=3)
NUMBERS = range(1, lineup.MOST_VECTORS + 1)
SAMPLES = [Policy("sample", e) for e in NUMBERS]


def made_of(log):
    return cases.of_days(log, DAYS, 5)


def ran(log, model, policies):
    users = log.user_ids.to_pylist()
    return retrieval.run(model, made_of(log), users, Exact(log.matrix), policies, PROTOCOL)


def test_figure_7_has_the_lifts_of_one_to_ten_vectors():
    log = drawn_log(1)
    last = ran(log, LastPin(log.matrix), [SINGLE])
    found = ran(log, PinnerSage(log.matrix, 0.2), SAMPLES)
    curve = curves.diversity_against_relevance(last, found, made_of(log), log.matrix, seed=0)
    base = last.measured[Key(SINGLE.name, "equal cost")]
    assert [point.n_vectors for point in curve.points] == list(NUMBERS)
    for point, policy in zip(curve.points, SAMPLES, strict=True):
        sums = found.measured[Key(policy.name, "equal cost")]
        assert point.relevance.value == sums["relevance, all"].value
        assert point.recall.value == sums["recall, all"].value
        assert point.diversity.value == sums["diversity"].value
        for measure, lift in (
            ("relevance, all", point.relevance_lift),
            ("diversity", point.diversity_lift),
        ):
            expected = sums[measure].value / base[measure].value - 1
            assert lift.value == pytest.approx(expected)


def test_its_line_is_how_different_the_actions_of_a_day_are():
    log = drawn_log(1)
    made = made_of(log)
    last = ran(log, LastPin(log.matrix), [SINGLE])
    found = ran(log, PinnerSage(log.matrix, 0.2), SAMPLES)
    curve = curves.diversity_against_relevance(last, found, made, log.matrix, seed=0)
    values = []
    for case in range(made.n):
        rows = made.targets.rows[made.targets.offsets[case] : made.targets.offsets[case + 1]]
        pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
        if pairs:
            values.append(np.mean([1 - log.matrix[a] @ log.matrix[b] for a, b in pairs]))
    base = last.measured[Key(SINGLE.name, "equal cost")]["diversity"].value
    assert curve.actions_diversity.value == pytest.approx(np.mean(values), abs=1e-5)
    assert curve.actions_diversity_lift == pytest.approx(np.mean(values) / base - 1, abs=1e-4)


def measured(n, seed):
    """Two measures of two models on n cases."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, n).astype(np.float64)
    return [
        {m: Sums(counts * rng.random(n), counts) for m in ("relevance, new", "recall, new")}
        for _ in range(2)
    ]


@given(st.integers(0, 300))
def test_groups_are_all_cases_by_how_much_is_known(seed):
    log = drawn_log(seed)
    made = made_of(log)
    if not made.n:
        return
    base, chosen = measured(made.n, seed)
    groups = curves.by_activity(base, chosen, made, seed=0)
    n_actions = np.diff(made.histories.offsets)
    assert 1 <= len(groups) <= curves.N_GROUPS
    assert sum(group.n_cases for group in groups) == made.n
    edges = [tuple(int(x) for x in group.label.split()[:3:2]) for group in groups]
    assert edges[0][0] == n_actions.min()
    assert edges[-1][1] == n_actions.max()
    assert all(one[1] < other[0] for one, other in itertools.pairwise(edges))
    for group, (least, most) in zip(groups, edges, strict=True):
        members = (n_actions >= least) & (n_actions <= most)
        assert group.n_cases == members.sum()
        assert group.n_users == len(set(made.histories.users[members].tolist()))
        for measure, lift in group.lifts.items():
            one, other = (
                sums[measure].hits[members].sum() / sums[measure].counts[members].sum()
                for sums in (base, chosen)
            )
            assert lift.value == pytest.approx(other / one - 1)


def test_users_who_all_do_as_much_are_one_group():
    start = start_us(DAYS[0])
    log = log_of(
        [(user, start + shift, 1) for user in range(4) for shift in (-9, 5)], drawn_log(0).matrix
    )
    [group] = curves.by_activity(*measured(4, 0), made_of(log), seed=0)
    assert (group.n_cases, group.n_users) == (4, 4)
    assert group.label == "1 to 1 actions in the window"


def busy(n_users):
    """A log of users who did enough to be shown, and one who did not."""
    start, rng = start_us(DAYS[0]), np.random.default_rng(2)
    busy = [
        (user, start - int(rng.integers(1, 4 * cases.DAY_US)), int(rng.integers(25)))
        for user in range(n_users)
        for _ in range(curves.FEWEST_ACTIONS)
    ]
    acted = [(user, start + 5 + shift * cases.DAY_US, 1) for user in range(6) for shift in (0, 1)]
    return log_of([*busy, (5, start - 5, 1), *acted], drawn_log(0).matrix)


@pytest.mark.parametrize("n_users", [0, 2, 5])
def test_timelines_are_of_a_few_busy_users_each_once(n_users):
    log = busy(n_users)
    made = made_of(log)
    found = curves.timelines(made, log.matrix, seed=0)
    assert len(found) == min(n_users, curves.N_TIMELINES)
    assert len({str(line) for line in found}) == len(found)
    for line in found:
        assert len(line.ages_days) == len(line.cosines) >= curves.FEWEST_ACTIONS
        assert line.ages_days == sorted(line.ages_days, reverse=True)
        assert line.cosines[-1] == 1.0, "the last pin against itself"
        assert set(type(line).model_fields) == {"ages_days", "cosines"}, "and nothing that names"
    assert found == curves.timelines(made, log.matrix, seed=0)
