"""Lineup: the paper's rows are all there, each once, with every policy that a table asks for."""

import itertools

import pytest
from random_logs import drawn_log

from pinnersage.evaluate import lineup, paper, policies, tuning
from pinnersage.evaluate.models import Fixed, LastPin
from pinnersage.evaluate.policies import PAPER, Policy
from pinnersage.evaluate.tuning import Tuned

MATRIX = drawn_log(0).matrix
CHOICES = list(itertools.product(tuning.DECAYS, tuning.POLICIES))


def tuned(decay=0.01, policy=PAPER):
    return Tuned(0.7, decay, policy, 0.4, 0.7, [], [])


def named(found):
    return {entry.name: entry for entry in found}


def test_every_row_of_the_papers_tables_is_there_under_its_name():
    names = set(named([*lineup.singles(MATRIX), *lineup.several(MATRIX, tuned(), 0, 1)]))
    trained = {"HierTCN", "PinnerSage, embedding = HierTCN"}
    sampled = {"PinnerSage, one sampled"}
    assert set(paper.TABLE_4) - trained - sampled <= names
    assert paper.TABLE_4.keys() == paper.TABLE_5.keys()


def test_the_last_pin_is_the_first_row():
    assert isinstance(lineup.singles(MATRIX)[0].model, LastPin)
    assert {entry.single for entry in lineup.singles(MATRIX)} == {True}
    assert {entry.single for entry in lineup.several(MATRIX, tuned(), 0, 1)} == {False}


@pytest.mark.parametrize(("decay", "policy"), CHOICES)
def test_whatever_is_chosen_is_a_row_and_is_measured(decay, policy):
    choice = tuned(decay, policy)
    rows = named(lineup.several(MATRIX, choice, 0, 1))
    chosen = rows[lineup.chosen_name(choice)]
    assert chosen.model.decay_per_day == decay
    assert chosen.model.merge_threshold == 0.7
    assert all({PAPER, policy} <= set(entry.policies) for entry in rows.values())


def test_pinnersage_is_measured_with_every_policy_and_one_to_ten_vectors():
    asked = named(lineup.several(MATRIX, tuned(), 0, 1))[lineup.MAIN].policies
    figure = {Policy("sample", e) for e in range(1, 11)}
    assert figure | set(policies.POLICIES) <= set(asked)
    assert len({policy.name for policy in asked}) == len(asked), "a name is what it is kept by"


def test_complete_linkage_has_a_threshold_of_its_own():
    rows = named(lineup.several(MATRIX, tuned(), 0, 1))
    points = MATRIX[:20]
    for limit in (0.4, 1.5):
        other = named(lineup.several(MATRIX, tuned()._replace(complete_threshold=limit), 0, 1))
        labels = other[lineup.COMPLETE].model.clusterer(points, None)
        mine = rows[lineup.COMPLETE].model.clusterer(points, None)
        assert (labels.tolist() == mine.tolist()) == (limit == 0.4)


class Counter(Fixed):
    """A model that is changed by every day."""

    def __init__(self):
        self.days = []

    def __deepcopy__(self, memo):
        found = Counter()
        found.days = [*self.days]
        return found

    def learn(self, until_us):
        self.days.append(until_us)


def test_each_measuring_begins_with_the_model_as_it_was():
    entry = lineup.Entry("counter", Counter(), (PAPER,))
    entry.fresh().learn(5)
    assert entry.fresh().days == []
    fixed = lineup.singles(MATRIX)[0]
    assert fixed.fresh() is fixed.model, "what learns nothing is not copied"


def test_each_policy_stands_once_in_its_order():
    ten, three = Policy("top", 10), PAPER
    assert lineup.unique((three, ten, Policy("sample", 3), ten)) == (three, ten)
