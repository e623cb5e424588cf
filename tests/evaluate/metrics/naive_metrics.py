"""Naive twins of the metrics: one case at a time, in plain Python, as the paper says them.

A case's candidates are a list of pins, best first; its targets are pins with a flag each: counted
or not. Each twin gives (hits, count) of one case.
"""

import itertools
import math

import numpy as np
from hypothesis import strategies as st

from pinnersage.evaluate.metrics import Lists

N_PINS = 12


def flat(lists):
    """Lists, one after another."""
    return Lists(offsets_of(lists), joined(lists, np.intp))


def offsets_of(lists):
    """Where each list begins, and the end."""
    return np.cumsum([0, *(len(one) for one in lists)]).astype(np.intp)


def joined(lists, dtype):
    """Numbers of all cases, one after another."""
    return np.array([value for one in lists for value in one], dtype=dtype)


@st.composite
def cases(draw, most=6):
    """Some cases: candidates, targets, and which of the targets count."""
    pins = st.lists(st.integers(0, N_PINS - 1), max_size=8, unique=True)
    n = draw(st.integers(0, most))
    candidates, targets = [draw(pins) for _ in range(n)], [draw(pins) for _ in range(n)]
    mask = [[draw(st.booleans()) for _ in own] for own in targets]
    return candidates, targets, mask


def vectors(seed, n=N_PINS, d=3):
    """Unit vectors, some of them near each other."""
    made = np.random.default_rng(seed).normal(size=(n, d))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def wanted(targets, mask):
    return [pin for pin, counts in zip(targets, mask, strict=True) if counts]


def cosine(matrix, one, other):
    return sum(float(a) * float(b) for a, b in zip(matrix[one], matrix[other], strict=True))


def best_cosine(candidates, pin, matrix):
    if pin in candidates:
        return 1.0
    return max((cosine(matrix, pin, other) for other in candidates), default=-math.inf)


def relevance(candidates, targets, mask, matrix, threshold):
    pins = wanted(targets, mask)
    return sum(best_cosine(candidates, pin, matrix) >= threshold for pin in pins), len(pins)


def recall(candidates, targets, mask):
    pins = wanted(targets, mask)
    return sum(pin in candidates for pin in pins), len(pins)


def hit_rate(candidates, targets, mask, k):
    pins = wanted(targets, mask)
    return int(any(pin in candidates[:k] for pin in pins)), int(bool(pins))


def ndcg(candidates, targets, mask, k):
    pins = wanted(targets, mask)
    if not pins:
        return 0, 0
    gained = sum(1 / math.log2(1 + r) for r, pin in enumerate(candidates[:k], 1) if pin in pins)
    return gained / sum(1 / math.log2(1 + r) for r in range(1, min(k, len(pins)) + 1)), 1


def mrr(candidates, targets, mask):
    pins = wanted(targets, mask)
    return next((1 / r for r, pin in enumerate(candidates, 1) if pin in pins), 0), int(bool(pins))


def orders(scores):
    """Every order of the items that the scores allow, highest first."""
    items = sorted(range(len(scores)), key=lambda i: -scores[i])
    groups = [list(g) for _, g in itertools.groupby(items, key=lambda i: scores[i])]
    for parts in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield [item for part in parts for item in part]


def r_precision(actions, impressions, mask):
    """Expected over the orders that ties allow; the actions are the first items."""
    totals = [
        sum(mask[item] for item in order[: len(actions)] if item < len(actions))
        for order in orders([*actions, *impressions])
    ]
    return sum(totals) / len(totals), sum(mask)


def reciprocal_rank(actions, impressions, mask):
    """Expected over the orders that ties allow."""
    totals = [
        sum(1 / (1 + order.index(action)) for action in range(len(actions)) if mask[action])
        for order in orders([*actions, *impressions])
    ]
    return sum(totals) / len(totals), sum(mask)


def diversity(pins, matrix):
    pairs = list(itertools.combinations(pins, 2))
    if not pairs:
        return 0, 0
    return sum(1 - cosine(matrix, a, b) for a, b in pairs) / len(pairs), 1


def entropy(weights):
    total = sum(weights)
    return sum(-w / total * math.log(w / total) for w in weights), int(bool(weights))
