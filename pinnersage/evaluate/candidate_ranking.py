"""Candidate ranking: do a user's vectors put actions above other pins? (section 5.3.2, Table 5).

For every action of a case there are 20 other pins. The paper takes impressions and fills up with
random pins; a log of interests has no impressions, so here all are random: pins of the catalogue
that the user did not act on that day, the same for every model. Pins are put in order by their
largest cosine to any of the vectors that retrieval would ask: up to three are sampled.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from pinnersage.evaluate import metrics
from pinnersage.evaluate.cases import Cases
from pinnersage.evaluate.histories import Flags, Integers, Model, Represented, Vectors
from pinnersage.evaluate.metrics import Lists, Ranks, Sums, Which
from pinnersage.evaluate.policies import Policy, ask
from pinnersage.evaluate.retrieval import Protocol, together
from pinnersage.retrieve import generator

WHICH: tuple[Which, ...] = ("all", "new", "repeats")
PER_ACTION = 20
"""Other pins for each action."""


def others(cases: Cases, n_pins: int, user_ids: list[int | str], seed: int) -> Lists:
    """Return the pins that each case's actions are ranked against, drawn with replacement.

    A case has the same for any set of cases that it is among; none if its user acted on every pin.
    """
    lists = []
    for i in range(cases.n):
        rows = cases.targets.rows[cases.targets.offsets[i] : cases.targets.offsets[i + 1]]
        user = user_ids[int(cases.histories.users[i])]
        rng = generator(f"ranking/{user}", cases.day_of(i).isoformat(), seed)
        allowed = np.delete(np.arange(n_pins), rows)
        n = PER_ACTION * rows.size if allowed.size else 0
        lists.append(allowed[rng.integers(0, max(allowed.size, 1), n)])
    return together(lists)


def ranks(
    model: Model,
    cases: Cases,
    against: Lists,
    matrix: Vectors,
    policy: Policy,
    user_ids: list[int | str],
    protocol: Protocol,
) -> Ranks:
    """Return where each action stands among the actions and other pins of its case.

    A user without a vector says the same of all pins.
    """
    actions, impressions = [], []
    place = 0
    with threadpool_limits(1, user_api="blas"):  # small products, and the same bits anywhere
        for one in cases.by_day():
            if one.n:
                found = model.represent(one.histories)
            for i in range(one.n):
                vectors = asked(found, i, policy, one, user_ids, protocol)
                rows = one.targets.rows[one.targets.offsets[i] : one.targets.offsets[i + 1]]
                beside = against.rows[against.offsets[place] : against.offsets[place + 1]]
                actions.append(scores(rows, vectors, matrix))
                impressions.append(scores(beside, vectors, matrix))
                place += 1
            model.learn(one.end_us)
    return metrics.ranks(
        cases.targets.offsets,
        np.concatenate(actions),
        against.offsets,
        np.concatenate(impressions),
    )


def scores(rows: Integers, vectors: Vectors, matrix: Vectors) -> Vectors:
    """Return the largest cosine of each pin to any of the vectors; -inf where there is none."""
    return np.asarray((matrix[rows] @ vectors.T).max(axis=1, initial=-np.inf), np.float32)


def asked(
    found: Represented,
    case: int,
    policy: Policy,
    cases: Cases,
    user_ids: list[int | str],
    protocol: Protocol,
) -> Vectors:
    """Return the vectors of one case that a policy asks: those that retrieval asks that day."""
    begin, end = found.offsets[case : case + 2]
    user = user_ids[int(cases.histories.users[case])]
    rng = generator(user, cases.day_of(case).isoformat(), protocol.seed)
    chosen, _ = ask(found.weights[begin:end], policy, protocol.n_candidates, rng)
    return found.vectors[begin:end][chosen]


def measured(ranked: Ranks, new: Flags) -> dict[str, Sums]:
    """Return R-Precision and Reciprocal Rank of all, new and repeated actions."""
    found = {}
    for which in WHICH:
        mask = metrics.counted(new, which)
        found[f"r-precision, {which}"] = metrics.r_precision(ranked, mask)
        found[f"reciprocal rank, {which}"] = metrics.reciprocal_rank(ranked, mask)
    return found
