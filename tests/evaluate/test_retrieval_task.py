"""Retrieval, the task: what is asked, counted and learned, case by case, against a naive twin."""

import numpy as np
import pytest
from random_logs import drawn_log, nth, with_another_future

from pinnersage.errors import DataError
from pinnersage.evaluate import cases, retrieval
from pinnersage.evaluate.cases import DAY_US, start_us
from pinnersage.evaluate.histories import Represented
from pinnersage.evaluate.log import unit
from pinnersage.evaluate.models import Fixed, LastPin, PinnerSage
from pinnersage.evaluate.policies import BUDGETS, PAPER, SINGLE, Policy
from pinnersage.evaluate.retrieval import Key, Protocol, run
from pinnersage.evaluate.search import Exact
from pinnersage.retrieve import generator, sample_medoids

DAYS = [nth(n) for n in range(5, 11)]
PROTOCOL = Protocol(n_candidates=6, threshold=0.7, seed=3)
ALL = Policy("all")
POLICIES = (SINGLE, PAPER, ALL)


def ran(log, model=None, made=None, policies=POLICIES, **changes):
    made = cases.of_days(log, DAYS, 5) if made is None else made
    model = model or PinnerSage(log.matrix, 0.5)
    protocol = PROTOCOL._replace(**changes)
    users = log.user_ids.to_pylist()
    return run(model, made, users, Exact(log.matrix), policies, protocol)


def naive_candidates(log, vectors, weights, policy, user, day, without):
    """At equal cost: the nearest of each vector that is asked."""
    if not len(vectors):
        return [], 0, 0
    if policy == PAPER:
        chosen = sample_medoids(weights, 3, rng=generator(user, str(day), 3)).tolist()
    else:
        chosen = list(range(len(vectors)))[: 1 if policy == SINGLE else PROTOCOL.n_candidates]
    share, best = PROTOCOL.n_candidates // len(chosen), {}
    for i in chosen:
        cosines = {
            row: float(cosine)
            for row, cosine in enumerate(log.matrix @ vectors[i])
            if row not in without
        }
        for row in sorted(cosines, key=lambda row: (-cosines[row], row))[:share]:
            best[row] = max(best.get(row, -2), cosines[row])
    ordered = sorted(best, key=lambda row: (-best[row], row))
    return ordered, share * len(chosen), len(chosen)


def naive(log, made, model, policy):
    """Hits by measure of each case, candidates, what is read and searched."""
    found = []
    represented = model.represent(made.histories)
    for case in range(made.n):
        own = slice(represented.offsets[case], represented.offsets[case + 1])
        at = slice(made.targets.offsets[case], made.targets.offsets[case + 1])
        seen = made.seen.rows[made.seen.offsets[case] : made.seen.offsets[case + 1]].tolist()
        user = log.user_ids.to_pylist()[made.histories.users[case]]
        told = represented.vectors[own], represented.weights[own], policy, user
        day = DAYS[made.day[case]]
        targets = list(zip(made.targets.rows[at].tolist(), made.targets.new[at], strict=True))
        every, read, searches = naive_candidates(log, *told, day, [])
        unseen, *_ = naive_candidates(log, *told, day, seen)
        one = {"candidates": len(every), "neighbours read": read, "searches": searches}
        for which, given, wanted in (
            ("all", every, [row for row, _ in targets]),
            ("repeats", every, [row for row, new in targets if not new]),
            ("new", unseen, [row for row, new in targets if new]),
        ):
            one[f"recall, {which}"] = sum(row in given for row in wanted)
            one[f"relevance, {which}"] = sum(
                row in given or any(log.matrix[row] @ log.matrix[c] >= 0.7 for c in given)
                for row in wanted
            )
            one[f"counts, {which}"] = len(wanted)
        found.append(one)
    return found


def apart(matrix):
    """The pins, none a copy of another: of copies it is rounding that says which is nearer."""
    noise = np.random.default_rng(1).normal(size=matrix.shape)
    return unit(matrix + 0.01 * noise)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("seed", range(6))
def test_what_is_measured_is_what_a_naive_twin_counts(policy, seed):
    log = drawn_log(seed)
    log = log._replace(matrix=apart(log.matrix))
    made, model = cases.of_days(log, DAYS, 5), PinnerSage(log.matrix, 0.5)
    twin = naive(log, made, model, policy)
    assert len(twin) > 5
    measured = ran(log, model, made).measured[Key(policy.name, "equal cost")]
    for which in ("all", "repeats", "new"):
        counts = [one[f"counts, {which}"] for one in twin]
        for name in ("recall", "relevance"):
            sums = measured[f"{name}, {which}"]
            assert sums.hits.tolist() == [one[f"{name}, {which}"] for one in twin]
            assert sums.counts.tolist() == counts
    for name in ("candidates", "neighbours read", "searches"):
        assert measured[name].hits.tolist() == [one[name] for one in twin]


class Spy(Fixed):
    """Its users' last pins, and what it was asked to do."""

    name = "spy"

    def __init__(self, log):
        self.model, self.told = LastPin(log.matrix), []

    def represent(self, histories):
        self.told.append(("asked", histories.now_us[0]))
        return self.model.represent(histories)

    def learn(self, until_us):
        self.told.append(("learns", until_us))


def test_a_model_learns_from_a_day_once_it_is_over_also_from_an_empty_one():
    log = drawn_log(0)
    days = [nth(5), nth(6), nth(40), nth(41)]
    made, spy, done = cases.of_days(log, days, 5), Spy(log), []
    users = log.user_ids.to_pylist()
    run(spy, made, users, Exact(log.matrix), (SINGLE,), PROTOCOL, done.append)
    expected = []
    for number, day in enumerate(days):
        asked = [("asked", start_us(day))] if number < 2 else []
        expected += [*asked, ("learns", start_us(day) + DAY_US)]
    assert spy.told == expected
    assert done == [1, 2, 3, 4]


class Nobody(Fixed):
    """A model that knows nobody."""

    name = "nobody"

    def __init__(self, log):
        self.d = log.matrix.shape[1]

    def represent(self, histories):
        n, none = histories.users.size, np.empty(0)
        offsets = np.zeros(n + 1, np.intp)
        return Represented(offsets, np.empty((0, self.d), np.float32), none, none.astype(np.intp))


def test_users_without_vectors_count_and_are_recommended_nothing():
    log = drawn_log(1)
    policies = (*POLICIES, Policy("all", share="weight"))
    made = ran(log, Nobody(log), policies=policies)
    for measured in made.measured.values():
        assert measured["recall, all"].value == measured["relevance, new"].value == 0.0
        assert measured["candidates"].value == measured["searches"].value == 0.0
    assert made.vectors.value == 0.0
    assert all(rows.size == 0 for rows in made.come.values())


def same(one, two):
    return all(
        a.hits.tobytes() == b.hits.tobytes() and a.counts.tobytes() == b.counts.tobytes()
        for key in one.measured
        for a, b in zip(one.measured[key].values(), two.measured[key].values(), strict=True)
    )


def test_threads_and_chunks_change_nothing(monkeypatch):
    log = drawn_log(2, n_users=30)
    one = ran(log)
    assert same(one, ran(log, threads=2))
    monkeypatch.setattr(retrieval, "CHUNK", 1)
    assert same(one, ran(log, threads=2))


def test_another_seed_draws_other_vectors():
    log = drawn_log(2, n_users=30)
    one, two = ran(log), ran(log, seed=4)
    assert not same(one, two)
    keys = [key for key in one.measured if key.policy != PAPER.name]
    assert same(one._replace(measured={k: one.measured[k] for k in keys}), two)


def test_equal_candidates_are_equal_where_there_are_enough():
    measured = ran(drawn_log(3)).measured
    for key in measured:
        if key.budget == BUDGETS[1]:
            assert (measured[key]["candidates"].hits == PROTOCOL.n_candidates).all()
        assert measured[key]["neighbours read"].hits.max() <= PROTOCOL.n_candidates


@pytest.mark.parametrize("seed", range(5))
def test_nothing_dated_on_or_after_a_day_changes_what_its_users_are_recommended(seed):
    """Under ``all``, and of the users who have a case in both."""
    log = drawn_log(seed, n_users=30)
    moment = start_us(DAYS[2])
    other = with_another_future(log, moment, seed)
    days = DAYS[:3]
    found = []
    for one in (log, other):
        made = cases.of_days(one, days, 5)
        measured = ran(one, made=made).measured
        names = ("candidates", "diversity", "neighbours read", "searches")
        key_of_case = list(zip(made.day.tolist(), made.histories.users.tolist(), strict=True))
        table = {
            case: tuple(measured[key][name].hits[i] for key in measured for name in names)
            for i, case in enumerate(key_of_case)
        }
        found.append(table)
    one, two = found
    both = one.keys() & two.keys()
    assert {case for case in one if case[0] < 2} <= both
    assert any(day == 2 for day, _ in both)
    assert all(one[case] == two[case] for case in both)


def test_days_without_any_case_are_refused():
    log = drawn_log(0)
    with pytest.raises(DataError, match="Nobody with a past acted"):
        ran(log, made=cases.of_days(log, [nth(60), nth(61)], 5))


@pytest.mark.parametrize("track", ["all", "new"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_what_is_asked_for_alone_is_what_it_is_among_all(track, budget):
    log = drawn_log(4)
    whole, part = ran(log), ran(log, tracks=(track,), budgets=(budget,))
    assert {key.budget for key in part.measured} == {budget}
    for key, measured in part.measured.items():
        names = [name for name in measured if name.endswith(", new")]
        assert bool(names) == (track == "new")
        for name, sums in measured.items():
            assert sums.hits.tobytes() == whole.measured[key][name].hits.tobytes()
