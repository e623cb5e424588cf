"""Candidate ranking: which pins stand beside actions, and where actions stand among them."""

import numpy as np
import pytest
from random_logs import drawn_log, log_of, nth, with_another_future

from pinnersage.evaluate import candidate_ranking, cases
from pinnersage.evaluate.candidate_ranking import PER_ACTION, measured, others, ranks
from pinnersage.evaluate.cases import DAY_US, start_us
from pinnersage.evaluate.histories import Represented
from pinnersage.evaluate.models import Fixed, LastPin, PinnerSage
from pinnersage.evaluate.policies import PAPER, SINGLE, Policy
from pinnersage.evaluate.retrieval import Protocol
from pinnersage.retrieve import generator, sample_medoids

DAYS = [nth(n) for n in range(5, 11)]
PROTOCOL = Protocol(n_candidates=400, threshold=0.7, seed=3)
ALL = Policy("all")
SHARES = Policy("all", share="weight")


def made_of(log, days=DAYS):
    return cases.of_days(log, days, 5)


def drawn(log, made, seed=3):
    return others(made, len(log.matrix), log.user_ids.to_pylist(), seed)


def ranked(log, model, policy, made=None, protocol=PROTOCOL):
    made = made_of(log) if made is None else made
    users = log.user_ids.to_pylist()
    return ranks(model, made, drawn(log, made), log.matrix, policy, users, protocol)


def rows_of(lists, case):
    return lists.rows[lists.offsets[case] : lists.offsets[case + 1]].tolist()


@pytest.mark.parametrize("seed", range(6))
def test_twenty_pins_an_action_none_of_which_the_user_acted_on_that_day(seed):
    log = drawn_log(seed)
    made = made_of(log)
    lists = drawn(log, made)
    for case in range(made.n):
        beside, actions = rows_of(lists, case), rows_of(made.targets, case)
        assert len(beside) == PER_ACTION * len(actions)
        assert not set(beside) & set(actions)
        assert set(beside) <= set(range(len(log.matrix)))


def test_they_are_drawn_from_the_whole_catalogue_by_the_seed():
    log = drawn_log(1)
    made = made_of(log)
    assert set(drawn(log, made).rows.tolist()) == set(range(len(log.matrix)))
    assert drawn(log, made, 3).rows.tolist() == drawn(log, made, 3).rows.tolist()
    assert drawn(log, made, 3).rows.tolist() != drawn(log, made, 4).rows.tolist()


def test_a_case_has_the_same_whatever_it_is_among():
    log = drawn_log(1)
    every = drawn(log, made_of(log))
    alone = drawn(log, made_of(log, DAYS[2:3]))
    begin = np.searchsorted(made_of(log).day, 2)
    assert alone.offsets.size > 2
    for case in range(alone.offsets.size - 1):
        assert rows_of(alone, case) == rows_of(every, begin + case)


def test_whoever_acted_on_every_pin_is_ranked_among_her_own():
    log = drawn_log(0)
    log = log_of(
        [(0, start_us(DAYS[0]) - 9, 0), *((0, start_us(DAYS[0]), row) for row in range(25))],
        log.matrix,
    )
    made = made_of(log)
    assert drawn(log, made).rows.size == 0
    found = measured(ranked(log, LastPin(log.matrix), SINGLE), made.targets.new)
    assert found["r-precision, all"].value == 1


def naive_vectors(model, made, case, policy, user):
    """The vectors of a case that are asked."""
    found = model.represent(made.histories)
    own = slice(found.offsets[case], found.offsets[case + 1])
    vectors, weights = found.vectors[own], found.weights[own]
    if policy == PAPER:
        rng = generator(user, made.day_of(case).isoformat(), 3)
        return vectors[sample_medoids(weights, 3, rng=rng)]
    return vectors[:1] if policy == SINGLE else vectors


@pytest.mark.parametrize("policy", [SINGLE, PAPER, ALL], ids=lambda policy: policy.name)
@pytest.mark.parametrize("seed", range(4))
def test_an_action_stands_where_a_naive_twin_puts_it(policy, seed):
    log = drawn_log(seed)
    made = made_of(log)
    model = PinnerSage(log.matrix, 0.5)
    found, lists = ranked(log, model, policy), drawn(log, made)
    place = 0
    for case in range(made.n):
        user = log.user_ids.to_pylist()[made.histories.users[case]]
        vectors = naive_vectors(model, made, case, policy, user)
        actions, beside = rows_of(made.targets, case), rows_of(lists, case)
        score = {row: round(float((vectors @ log.matrix[row]).max()), 5) for row in range(25)}
        together = [score[row] for row in [*actions, *beside]]
        for row in actions:
            above = sum(one > score[row] for one in together)
            tied = sum(one == score[row] for one in together)
            first, among = found.first[place], found.tied[place]
            # Of copies rounding says which is nearer: within those that tie it may stand anywhere.
            assert above < first + among <= above + tied + 1
            assert first > above
            place += 1
    assert place == found.first.size


class Three(Fixed):
    """Three orthogonal vectors a user, the first by far the heaviest."""

    name = "Three"

    def __init__(self, matrix):
        self.matrix = matrix

    def represent(self, histories):
        n = histories.users.size
        return Represented(
            np.arange(0, 3 * n + 1, 3), np.tile(self.matrix[:3], (n, 1)),
            np.tile([0.9, 0.06, 0.04], n), np.tile(np.arange(3), n),
        )  # fmt: skip


def test_shares_ask_every_vector_that_they_give_a_candidate():
    matrix = np.eye(25, dtype=np.float32)
    start = start_us(DAYS[0])
    log = log_of([(0, start - 9, 0), (0, start, 2)], matrix)
    found = ranked(log, Three(matrix), SHARES)
    assert (found.first.tolist(), found.tied[0] < 21) == ([1], True)
    few = ranked(log, Three(matrix), SHARES, protocol=PROTOCOL._replace(n_candidates=3))
    assert few.tied[0] > found.tied[0], "of three candidates the lightest vector has no share"


class Nothing(Fixed):
    """A model that knows nobody."""

    name = "Nothing"

    def represent(self, histories):
        none = np.empty((0, 6), np.float32)
        offsets = np.zeros(histories.users.size + 1, np.intp)
        return Represented(offsets, none, np.empty(0), np.empty(0, np.intp))


def test_of_a_user_without_a_vector_all_pins_are_alike():
    log = drawn_log(1)
    made = made_of(log)
    found = ranked(log, Nothing(), PAPER)
    assert set(found.first.tolist()) == {1}
    np.testing.assert_array_equal(found.tied, np.repeat(np.diff(made.targets.offsets) * 21,
                                                        np.diff(made.targets.offsets)))  # fmt: skip


class Diary(LastPin):
    """A model that writes down what it is asked, in order."""

    def __init__(self, matrix):
        super().__init__(matrix)
        object.__setattr__(self, "said", [])

    def represent(self, histories):
        self.said.append(("represent", set(histories.now_us.tolist())))
        return super().represent(histories)

    def learn(self, until_us):
        self.said.append(("learn", until_us))


def test_a_model_learns_from_a_day_once_that_day_is_ranked():
    log = drawn_log(1)
    diary = Diary(log.matrix)
    ranked(log, diary, SINGLE)
    expected = []
    for n, day in enumerate(DAYS):
        if (made_of(log).day == n).any():
            expected.append(("represent", {start_us(day)}))
        expected.append(("learn", start_us(day) + DAY_US))
    assert diary.said == expected


@pytest.mark.parametrize("policy", [SINGLE, PAPER], ids=lambda policy: policy.name)
def test_what_comes_after_a_day_changes_no_rank_of_that_day(policy):
    log = drawn_log(4)
    other = with_another_future(log, start_us(DAYS[3]), seed=1)
    n = int(np.searchsorted(made_of(log).day, 3))
    m = made_of(log).targets.offsets[n]
    one, two = (ranked(some, PinnerSage(some.matrix, 0.5), policy) for some in (log, other))
    assert m > 0
    assert one.first[:m].tolist() == two.first[:m].tolist()
    assert one.tied[:m].tolist() == two.tied[:m].tolist()


def test_new_and_repeated_actions_add_up_to_all():
    log = drawn_log(2)
    made = made_of(log)
    found = measured(ranked(log, PinnerSage(log.matrix, 0.5), PAPER), made.targets.new)
    assert set(found) == {
        f"{measure}, {which}"
        for measure in ("r-precision", "reciprocal rank")
        for which in candidate_ranking.WHICH
    }
    for measure in ("r-precision", "reciprocal rank"):
        every, new, repeats = (found[f"{measure}, {which}"] for which in ("all", "new", "repeats"))
        np.testing.assert_allclose(every.hits, new.hits + repeats.hits)
        np.testing.assert_array_equal(every.counts, new.counts + repeats.counts)
        assert every.counts.sum() == made.targets.rows.size
