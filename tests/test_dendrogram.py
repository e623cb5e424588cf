"""Dendrogram: the whole tree, whose cuts are the clusters that are published."""

import naive
import numpy as np
import pytest
from hypothesis import assume, given
from scipy.cluster.hierarchy import fcluster, is_valid_linkage
from scipy.cluster.hierarchy import linkage as scipy_linkage
from strategies import make_user, thresholds, user

from pinnersage import dendrogram
from pinnersage.model import cluster_actions

MANY = 10_000


def grown(drawn, merge_threshold=1.0, most_leaves=MANY):
    return dendrogram.grow(
        drawn.embeddings,
        drawn.rows.astype(np.intp),
        drawn.ages,
        merge_threshold=merge_threshold,
        most_leaves=most_leaves,
    )


def same_partition(one, other):
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def is_ambiguous(drawn, threshold):
    pins, weights = np.unique(drawn.rows, return_counts=True)
    return naive.ambiguous(drawn.embeddings[pins], threshold, weights)


@given(user(min_actions=1), thresholds())
def test_a_cut_is_the_clusters_that_are_published(drawn, merge_threshold):
    assume(not is_ambiguous(drawn, merge_threshold))
    tree = grown(drawn, merge_threshold)
    published = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, merge_threshold)

    nodes = tree.cut(merge_threshold)[tree.leaves]

    assert same_partition(nodes, published.labels)
    assert set(tree.medoids[np.unique(nodes)].tolist()) == set(published.medoids.tolist())


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 3.0, 20.0, 1e6])
@pytest.mark.parametrize("seed", range(8))
def test_a_cut_anywhere_is_scipys_of_the_actions(seed, alpha):
    drawn = make_user(np.random.default_rng(seed), 150, 16, topics=6, pins=90, copies=0.1)
    tree = grown(drawn)

    theirs = fcluster(scipy_linkage(drawn.points, "ward"), np.sqrt(alpha), "distance")

    assert same_partition(tree.cut(alpha)[tree.leaves], theirs)


@given(user(min_actions=2))
def test_merges_are_a_linkage_as_scipy_has_them(drawn):
    tree = grown(drawn)
    k = len(tree.pairs) + 1
    assume(k > 1)

    sizes = np.ones(2 * k - 1)
    for i, (a, b) in enumerate(tree.pairs):
        sizes[k + i] = sizes[a] + sizes[b]
    table = np.column_stack([tree.pairs, tree.heights, sizes[k:]])

    assert is_valid_linkage(table, throw=True)
    assert (np.diff(tree.heights) >= 0).all()
    assert sizes[-1] == k


@pytest.mark.parametrize("seed", range(4))
def test_every_node_has_the_medoid_of_its_actions(seed):
    drawn = make_user(np.random.default_rng(seed), 60, 8, topics=4, pins=40)
    tree = grown(drawn)

    for alpha in [0.0, *tree.heights]:
        published = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, alpha * (1 + 1e-12))
        nodes = np.unique(tree.cut(alpha * (1 + 1e-12)))
        assert set(tree.medoids[nodes].tolist()) == set(published.medoids.tolist())


@pytest.mark.parametrize("most_leaves", [1, 5, 20, 60])
def test_fewer_leaves_leave_the_tree_above_as_it_is(most_leaves):
    drawn = make_user(np.random.default_rng(3), 400, 16, topics=9, pins=300, copies=0.1)
    whole, coarse = grown(drawn), grown(drawn, most_leaves=most_leaves)

    assert len(coarse.pairs) + 1 <= most_leaves
    assert coarse.leaf_height > 0
    np.testing.assert_allclose(
        coarse.heights, whole.heights[whole.heights > coarse.leaf_height], rtol=1e-9
    )
    for alpha in np.geomspace(coarse.leaf_height, whole.heights[-1] * 1.1, 9):
        one, other = coarse.cut(alpha), whole.cut(alpha)
        assert same_partition(one[coarse.leaves], other[whole.leaves])
        assert set(coarse.medoids[one].tolist()) == set(whole.medoids[other].tolist())


def test_the_threshold_is_among_the_heights_at_which_leaves_are_cut():
    heights = dendrogram.leaf_heights(0.7)

    assert [next(heights) for _ in range(6)] == pytest.approx([0, 0.0875, 0.175, 0.35, 0.7, 1.4])


def test_a_threshold_of_nothing_ends_as_well():
    drawn = make_user(np.random.default_rng(1), 50, 8, topics=9, pins=50, copies=0)

    assert len(grown(drawn, 0.0, most_leaves=3).pairs) < 3


def test_one_action_is_a_tree_of_one_leaf():
    drawn = make_user(np.random.default_rng(0), 1, 8)
    tree = grown(drawn)

    assert (tree.cut(1.0).tolist(), tree.medoids.tolist(), tree.pairs.shape) == ([0], [0], (0, 2))
