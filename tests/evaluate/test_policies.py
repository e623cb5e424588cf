"""Policies: who is asked for how much, and candidates under either budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage import allocate
from pinnersage.evaluate.policies import BUDGETS, PAPER, POLICIES, SINGLE, Policy, ask, candidates
from pinnersage.evaluate.search import Exact, Found
from pinnersage.retrieve import sample_medoids

N_PINS = 60
MATRIX = np.random.default_rng(2).normal(size=(N_PINS, 5)).astype(np.float32)
MATRIX /= np.linalg.norm(MATRIX, axis=1, keepdims=True)
NOTHING = np.empty(0, np.intp)

policies = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
weights = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=14).map(
    lambda drawn: np.array(sorted(drawn, reverse=True))
)


def rng():
    return np.random.default_rng(4)


def found_of(k, depth, seed=0):
    """Neighbours of some of the pins; near ones share some."""
    rows = np.random.default_rng(seed).integers(N_PINS, size=k)
    return Exact(MATRIX).search(MATRIX[rows], depth, NOTHING)


@policies
@given(weights, st.integers(1, 40))
def test_who_is_asked_and_for_how_much(policy, weights, n):
    chosen, shares = ask(weights, policy, n, rng())
    wanted = weights.size if policy.select == "all" else min(policy.n_vectors, weights.size)
    assert len(set(chosen.tolist())) == chosen.size == shares.size <= min(wanted, n)
    assert (shares > 0).all()
    if policy.share == "weight":
        assert shares.sum() == n
        dropped = [i for i in range(min(wanted, n)) if i not in chosen]
        every = allocate.shares(weights[: min(wanted, n)], n)
        assert all(every[i] == 0 for i in dropped)
        assert every[chosen].tolist() == shares.tolist()
    else:
        assert chosen.size == min(wanted, n)
        assert (shares == n // chosen.size).all()
        assert n - chosen.size < shares.sum() <= n
    if policy.select == "sample":
        drawn = sample_medoids(weights, policy.n_vectors, rng=rng())[:n]
        assert chosen.tolist() == drawn.tolist()
    elif policy.share == "equal":
        assert chosen.tolist() == list(range(chosen.size))


@policies
def test_a_user_without_vectors_is_not_asked(policy):
    chosen, shares = ask(np.empty(0), policy, 10, rng())
    assert chosen.size == shares.size == 0
    nothing = Found(np.empty((0, 10), np.intp), np.empty((0, 10), np.float32))
    for budget in BUDGETS:
        assert candidates(nothing, chosen, shares, 10, budget).size == 0


@policies
@pytest.mark.parametrize("n", [1, 7, 30])
@given(st.integers(1, 12), st.integers(0, 99))
def test_equal_candidates_are_as_many_for_all_and_none_comes_twice(policy, n, k, seed):
    found, weights = found_of(k, n, seed), np.sort(np.arange(1.0, k + 1))[::-1].copy()
    chosen, shares = ask(weights, policy, n, rng())
    same = candidates(found, chosen, shares, n, "equal candidates")
    cost = candidates(found, chosen, shares, n, "equal cost")
    assert same.size == len(set(same.tolist())) == n
    assert cost.size == len(set(cost.tolist())) <= shares.sum() <= n
    if shares.sum() == n:
        assert set(cost.tolist()) <= set(same.tolist()), "what the shares bring is all there"


@policies
@given(st.integers(1, 12), st.integers(0, 99), st.integers(1, 30))
def test_equal_cost_is_the_share_s_nearest_of_each(policy, k, seed, n):
    found, weights = found_of(k, n, seed), np.ones(k)
    chosen, shares = ask(weights, policy, n, rng())
    expected = {
        row
        for i, share in zip(chosen, shares, strict=True)
        for row in found.rows[i][:share].tolist()
    }
    assert set(candidates(found, chosen, shares, n, "equal cost").tolist()) == expected


@pytest.mark.parametrize("budget", BUDGETS)
def test_of_one_vector_the_candidates_are_its_nearest(budget):
    found = found_of(3, 20)
    chosen, shares = ask(np.array([3.0, 2.0, 1.0]), SINGLE, 20, rng())
    made = candidates(found, chosen, shares, 20, budget)
    assert made.tolist() == found.rows[0].tolist()


@pytest.mark.parametrize("budget", BUDGETS)
def test_candidates_stand_best_first(budget):
    found = found_of(5, 20)
    chosen, shares = ask(np.ones(5), Policy("all"), 20, rng())
    made = candidates(found, chosen, shares, 20, budget).tolist()
    best = {}
    for i in chosen:
        for row, cosine in zip(found.rows[i].tolist(), found.cosines[i].tolist(), strict=True):
            best[row] = max(best.get(row, -1.0), cosine)
    cosines = [best[row] for row in made]
    assert cosines == sorted(cosines, reverse=True)


@pytest.mark.parametrize("budget", BUDGETS)
def test_where_there_is_nothing_nothing_comes(budget):
    without = np.arange(2, N_PINS)
    found = Exact(MATRIX).search(MATRIX[:3], 10, without)
    chosen, shares = ask(np.ones(3), PAPER, 10, rng())
    assert sorted(candidates(found, chosen, shares, 10, budget).tolist()) == [0, 1]


def test_policies_have_names_of_their_own():
    names = [policy.name for policy in (SINGLE, *POLICIES)]
    assert len(set(names)) == len(names)
    assert names[0] == "top 1, equal shares"
    assert Policy("all", share="weight").name == "all, proportional shares"
