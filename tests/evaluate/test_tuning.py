"""Tuning: what the tuning days choose is the best that was tried, and nothing later matters."""

import numpy as np
import pytest
from random_logs import drawn_log, nth, with_another_future

from pinnersage.errors import DataError
from pinnersage.evaluate import cases, clusterers, lifts, retrieval, tuning
from pinnersage.evaluate.cases import start_us
from pinnersage.evaluate.models import Grouped, PinnerSage
from pinnersage.evaluate.policies import PAPER
from pinnersage.evaluate.retrieval import Key, Protocol
from pinnersage.evaluate.search import Exact
from pinnersage.evaluate.tuning import DECAYS, PAPER_DECAY, POLICIES, Tuner, best

DAYS = [nth(n) for n in range(5, 9)]
AFTER = start_us(nth(9))
THRESHOLDS = (0.2, 0.6, 2.0)
PROTOCOL = Protocol(n_candidates=6, threshold=0.7, seed=3)
SEEDS = range(4)


def always(name, make):
    """Keep nothing."""
    del name
    return make()


def tuner(log, kept=always):
    made = cases.of_days(log, DAYS, 5)
    users = log.user_ids.to_pylist()
    return Tuner(made, users, Exact(log.matrix), PROTOCOL, kept)


def recall(log, model, policy):
    """Recall on new pins at equal cost, measured apart, by the whole protocol."""
    made = cases.of_days(log, DAYS, 5)
    users = log.user_ids.to_pylist()
    found = retrieval.run(model, made, users, Exact(log.matrix), [policy], PROTOCOL)
    return found.measured[Key(policy.name, "equal cost")]["recall, new"].value


@pytest.mark.parametrize("seed", SEEDS)
def test_the_choice_is_the_first_of_the_best(seed):
    log = drawn_log(seed)
    tuned = tuner(log).choose(THRESHOLDS)
    pairs = [(alpha, policy) for alpha in THRESHOLDS for policy in POLICIES]
    values = [recall(log, PinnerSage(log.matrix, alpha), policy) for alpha, policy in pairs]
    alpha, policy = pairs[values.index(max(values))]
    assert (tuned.merge_threshold, tuned.policy) == (alpha, policy)
    of_paper = [value for value, (_, one) in zip(values, pairs, strict=True) if one == PAPER]
    assert tuned.paper_threshold == THRESHOLDS[of_paper.index(max(of_paper))]
    complete = [
        recall(log, Grouped(log.matrix, clusterers.complete(limit), ""), policy)
        for limit in THRESHOLDS
    ]
    assert tuned.complete_threshold == THRESHOLDS[complete.index(max(complete))]


@pytest.mark.parametrize("low", [-0.1, 0.1])
@pytest.mark.parametrize("seed", SEEDS)
def test_another_decay_is_taken_only_where_its_gain_is_more_than_chance(seed, low, monkeypatch):
    def gains(base, models, users, *, seed):
        del base, users, seed
        lift = lifts.Interval(0.2, low, 0.3)
        return {
            name: lifts.Lift(lift, lifts.Interval(0.0, 0.0, 0.0) if "0.01" in name else lift, 0.01)
            for name in models
        }

    monkeypatch.setattr(tuning.lifts, "lifts", gains)
    log = drawn_log(seed)
    tuned = tuner(log).choose(THRESHOLDS)

    by_decay = {
        decay: recall(log, PinnerSage(log.matrix, tuned.merge_threshold, decay), tuned.policy)
        for decay in DECAYS
        if decay != PAPER_DECAY
    }
    expected = best(by_decay) if low > 0 else PAPER_DECAY
    assert tuned.decay_per_day == expected


def test_days_on_which_nobody_did_anything_new_choose_nothing():
    made = tuner(drawn_log(0))
    targets = made.cases.targets
    old = targets._replace(new=np.zeros_like(targets.new))
    made.cases = made.cases._replace(targets=old)

    with pytest.raises(DataError, match="nobody acted on a pin that was new"):
        made.choose(THRESHOLDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_that_was_tried_is_told(seed):
    log = drawn_log(seed)
    tuned = tuner(log).choose(THRESHOLDS)
    told = [(c.merge_threshold, c.decay_per_day, c.policy) for c in tuned.tried]
    assert told == [
        *((alpha, PAPER_DECAY, policy.name) for alpha in THRESHOLDS for policy in POLICIES),
        *((tuned.merge_threshold, d, tuned.policy.name) for d in DECAYS if d != PAPER_DECAY),
    ]
    values = {key: c.values["recall, new"] for key, c in zip(told, tuned.tried, strict=True)}
    chosen = tuned.merge_threshold, PAPER_DECAY, tuned.policy.name
    before = [value for (_, decay, _), value in values.items() if decay == PAPER_DECAY]
    assert values[chosen] == max(before), "no other threshold or policy that was tried is better"


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_from_the_first_test_day_on_changes_no_choice(seed):
    log = drawn_log(seed)
    other = with_another_future(log, AFTER, seed)
    assert other.rows.tolist() != log.rows.tolist()
    assert tuner(log).choose(THRESHOLDS) == tuner(other).choose(THRESHOLDS)


def test_what_happens_on_the_tuning_days_does_change_it():
    """The twin of the test above: it would see a leak."""
    log = drawn_log(1)
    others = [with_another_future(log, start_us(DAYS[0]), seed) for seed in range(3)]
    one = tuner(log).choose(THRESHOLDS)
    assert any(tuner(other).choose(THRESHOLDS).tried != one.tried for other in others)


def test_the_sweep_tells_what_clusters_a_threshold_makes():
    log = drawn_log(2)
    made = cases.of_days(log, DAYS, 5)
    for point in tuner(log).choose(THRESHOLDS).sweep:
        clusters = PinnerSage(log.matrix, point.merge_threshold).clusters(made.histories)
        counts = np.diff(clusters.offsets)
        cosines = [
            float(log.matrix[row] @ log.matrix[known[clusters.medoids[own][label]]])
            for case in range(made.n)
            for known, own, at in [
                (
                    made.histories.rows,
                    slice(clusters.offsets[case], clusters.offsets[case + 1]),
                    slice(made.histories.offsets[case], made.histories.offsets[case + 1]),
                )
            ]
            for row, label in zip(known[at], clusters.labels[at], strict=True)
        ]
        light = np.diff(made.histories.offsets) <= tuning.LIGHT_ACTIONS
        assert point.clusters["all"] == np.median(counts)
        assert point.clusters["light"] == np.median(counts[light])
        assert point.clusters["heavy"] is None, "nobody here is"
        assert point.mean_cohesion == pytest.approx(np.mean(cosines), abs=1e-5)


def test_each_measurement_is_kept_under_a_name_of_its_own():
    kept = {}

    def keep(name, make):
        assert name not in kept
        kept[name] = make()
        return kept[name]

    first = tuner(drawn_log(0), keep).choose(THRESHOLDS)
    assert len(kept) == len(THRESHOLDS) + len(DECAYS) - 1 + len(THRESHOLDS)
    again = tuner(drawn_log(0), lambda name, _make: kept[name]).choose(THRESHOLDS)
    assert again == first


def test_of_equal_ones_the_first_is_the_best():
    assert best({0.5: 0.1, 1.0: 0.3, 2.0: 0.3}) == 1.0
