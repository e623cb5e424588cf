"""Naive twins: the kernels again, as the paper writes them, slow and beyond doubt."""

import math

import numpy as np

TIE = 1e-6


def squared_distances(points):
    points = np.asarray(points, dtype=float)
    n = len(points)
    return np.array([((points - point) ** 2).sum(axis=1) for point in points]).reshape(n, n)


def start_distances(points, weights):
    """d of weighted points: the paper's for weights 1, and what merging the repeats leaves."""
    w = np.asarray(weights, dtype=float)
    return 2 * w[:, None] * w[None, :] / (w[:, None] + w[None, :]) * squared_distances(points)


def merges(points, weights=None, within=1e-9):
    """Algorithm 1 up to its merge history: triples (i, j, d) where j goes into i.

    Also returns whether some nearest neighbour other than a copy was not unique, but for
    rounding.
    """
    n = np.ones(len(points)) if weights is None else np.array(weights, dtype=float)
    d = start_distances(points, n)
    np.fill_diagonal(d, np.inf)
    alive, history, stack, tied = list(range(len(n))), [], [], False
    while len(alive) > 1:
        stack.append(alive[0])
        while stack:
            if len(alive) == 1:
                break
            i = stack[-1]
            least = d[i].min()
            nearest = np.flatnonzero(d[i] == least)
            close = np.count_nonzero(d[i] <= least * (1 + within))
            tied |= bool(close > 1 and least > 1e-20)
            if len(stack) >= 2 and stack[-2] in nearest:
                j = stack[-2]
                del stack[-2:]
                history.append((i, j, least))
                alive.remove(j)
                merged = ((n[i] + n) * d[i] + (n[j] + n) * d[j] - n * least) / (n[i] + n[j] + n)
                merged[i] = np.inf
                d[i] = d[:, i] = np.where(np.isnan(merged), np.inf, merged)
                d[j] = d[:, j] = np.inf
                n[i] += n[j]
            elif nearest[0] in stack:  # only rounding leads here; the paper has exact numbers
                del stack[stack.index(nearest[0]) + 1 :]
            else:
                stack.append(int(nearest[0]))
    return history, tied


def ambiguous(points, threshold, weights=None):
    """Whether a tie, or a merge at the threshold but for rounding, leaves the answer open."""
    history, tied = merges(points, weights)
    heights = np.array([d for *_, d in history])
    return tied or bool(np.any(np.abs(heights - threshold) <= 1e-9 * max(1.0, threshold)))


def ward(points, merge_threshold, weights=None):
    """Algorithm 1: the largest unions whose merge is within the threshold, and lone pins."""
    sets = [frozenset([i]) for i in range(len(points))]
    unions = []
    for i, j, d in merges(points, weights)[0]:
        sets[i] |= sets[j]
        unions.append((sets[i], d))
    clusters = []
    for union, d in sorted(unions, key=lambda pair: (pair[1], len(pair[0])), reverse=True):
        if d <= merge_threshold and not any(union & other for other in clusters):
            clusters.append(union)
    lone = set(range(len(points))).difference(*clusters)
    labels = np.empty(len(points), dtype=int)
    for label, members in enumerate(sorted([*clusters, *map(frozenset, zip(lone))], key=min)):
        labels[list(members)] = label
    return labels


def collapse(rows):
    """First action of each distinct row, how often it occurs, and each action's place."""
    distinct = list(dict.fromkeys(rows))
    firsts = [list(rows).index(row) for row in distinct]
    counts = [list(rows).count(row) for row in distinct]
    return firsts, counts, [distinct.index(row) for row in rows]


def medoid(points, weights=None):
    """Position of the member with the least sum of squared distances (eq. 2), earliest of ties."""
    w = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=float)
    points = np.asarray(points, dtype=float)
    costs = squared_distances(points) @ w
    squares = (points**2).sum(axis=1)
    best = int(np.argmin(costs))
    scale = max(abs(costs[best] - w @ squares), w.sum() * squares[best])
    return int(np.flatnonzero(costs - costs[best] <= TIE * scale)[0])


def attach(table, stored, sizes, offsets, rows, merge_threshold, within=1e-9):
    """Online: label of each action; position and offset of each cluster's medoid.

    Also whether a tie, or a merge at the threshold but for rounding, leaves the answer open.
    """
    firsts, counts, of_action = collapse(rows)
    k, n = len(stored), len(stored) + len(firsts)
    places = [*stored, *(rows[first] for first in firsts)]
    positions = [*range(k), *(k + first for first in firsts)]
    w, v = np.array([*sizes, *counts], float), np.array([*offsets, *[0.0] * len(firsts)])
    squared = squared_distances(np.asarray(table)[places])
    e = np.maximum(0.0, squared - v[:, None] - v[None, :])
    groups, tied = {name: [name] for name in range(n)}, False
    for c, j in [(c, j) for j in range(k, n) for c in range(k) if places[c] == places[j]]:
        e[c, j] = e[j, c] = v[c]
        groups[c] += groups.pop(j)

    def pairs(a, b):
        return w[a] @ e[np.ix_(a, b)] @ w[b] / (w[a].sum() * w[b].sum())

    def ward_distance(a, b):
        between = pairs(a, b) - pairs(a, a) / 2 - pairs(b, b) / 2
        return 2 * w[a].sum() * w[b].sum() / (w[a].sum() + w[b].sum()) * between

    limit = within * max(1.0, merge_threshold if merge_threshold < math.inf else 1.0)
    while True:
        found = sorted(
            (ward_distance(groups[a], groups[b]), a, b)
            for a in groups
            for b in groups
            if a < b and b >= k
        )
        tied |= any(abs(d - merge_threshold) <= limit for d, *_ in found[:1])
        if not found or found[0][0] > merge_threshold:
            break
        tied |= len(found) > 1 and found[1][0] - found[0][0] <= within * max(1.0, found[0][0])
        _, a, b = found[0]
        groups[a] += groups.pop(b)

    medoids, strays, of_pin = [], [], {}
    for label, name in enumerate(sorted(groups)):
        group = sorted(groups[name])
        of_pin |= dict.fromkeys(group, label)
        far = squared.copy()
        if name < k:  # from its centroid: no pin is nearer than the medoid
            far[name, name] = v[name]
            far[:, name] = np.maximum(far[:, name], v[name])
        costs = np.array([sum(w[i] * far[p, i] for i in group) for p in group])
        total = w[group].sum()
        scale = [total * (np.asarray(table)[places[p]] ** 2).sum() for p in group]
        best = int(np.argmin(costs))
        first = int(np.flatnonzero(costs - costs[best] <= TIE * scale[best])[0])
        medoids.append(positions[group[first]])
        strays.append(max(0.0, costs[first] / total - pairs(group, group) / 2))
    return [of_pin[k + j] for j in of_action], medoids, strays, tied


def importance(ages_days, decay_per_day):
    """Importance of one cluster (eq. 3)."""
    return sum(math.exp(-decay_per_day * age) for age in ages_days)


def cohesion(points, medoid_point):
    points = np.asarray(points, dtype=float)
    norms = np.linalg.norm(points, axis=1) * np.linalg.norm(medoid_point)
    return float(np.mean(points @ medoid_point / norms))


def partition(labels):
    """Labels as a set of sets, so that two numberings of the same clusters are equal."""
    groups = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), set()).add(position)
    return {frozenset(group) for group in groups.values()}


def jaccard(medoids_a, medoids_b):
    either = list(dict.fromkeys([*medoids_a, *medoids_b]))
    both = [medoid for medoid in either if medoid in medoids_a and medoid in medoids_b]
    return len(both) / len(either) if either else 1.0


def cosine_between(vectors_a, weights_a, vectors_b, weights_b):
    """Mean cosine of each medoid to the nearest of the other side, by weight, of both sides."""

    def one_way(vectors, weights, others):
        total = 0.0
        for vector, weight in zip(vectors, weights, strict=True):
            total += weight * max(
                np.dot(vector, other) / math.sqrt(np.dot(vector, vector) * np.dot(other, other))
                for other in others
            )
        return total / sum(weights)

    there, back = (
        one_way(vectors_a, weights_a, vectors_b),
        one_way(vectors_b, weights_b, vectors_a),
    )
    return (there + back) / 2
