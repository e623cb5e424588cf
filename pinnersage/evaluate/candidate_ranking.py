"""Candidate ranking: do a user's vectors put actions above other pins? (section 5.3.2, Table 5).

For every action of a case there are 20 other pins. The paper takes impressions and fills up with
random pins; a log of interests has no impressions, so here all are random: pins of the catalogue
that the user did not act on that day, the same for every model. Pins are put in order by their
largest cosine to any of the user's vectors, of which up to three are sampled.
"""

import numpy as np

from pinnersage.evaluate import metrics
from pinnersage.evaluate.cases import Cases
from pinnersage.evaluate.histories import Flags, Model, Represented, Vectors
from pinnersage.evaluate.metrics import Lists, Ranks, Sums, Which
from pinnersage.evaluate.policies import Policy, ask
from pinnersage.retrieve import generator

WHICH: tuple[Which, ...] = ("all", "new", "repeats")
PER_ACTION = 20
"""Other pins for each action."""


def others(cases: Cases, n_pins: int, user_ids: list[int | str], seed: int) -> Lists:
    """Return the pins that each case's actions are ranked against, drawn with replacement.

    A case has the same for any set of cases that it is among.
    """
    lists = []
    for i in range(cases.n):
        rows = cases.targets.rows[cases.targets.offsets[i] : cases.targets.offsets[i + 1]]
        user = user_ids[int(cases.histories.users[i])]
        rng = generator(f"ranking/{user}", cases.day_of(i).isoformat(), seed)
        allowed = np.delete(np.arange(n_pins), rows)
        lists.append(allowed[rng.integers(0, allowed.size, PER_ACTION * rows.size)])
    offsets = np.concatenate([[0], np.cumsum([rows.size for rows in lists])]).astype(np.intp)
    return Lists(offsets, np.concatenate([np.empty(0, np.intp), *lists]))


def ranks(
    model: Model,
    cases: Cases,
    against: Lists,
    matrix: Vectors,
    policy: Policy,
    user_ids: list[int | str],
    seed: int,
) -> Ranks:
    """Return where each action stands among the actions and other pins of its case."""
    actions, impressions = [], []
    place = 0
    for one in cases.by_day():
        if one.n:
            found = model.represent(one.histories)
            for i in range(one.n):
                vectors = asked(found, i, policy, one, user_ids, seed)
                rows = one.targets.rows[one.targets.offsets[i] : one.targets.offsets[i + 1]]
                beside = against.rows[against.offsets[place] : against.offsets[place + 1]]
                actions.append((matrix[rows] @ vectors.T).max(axis=1))
                impressions.append((matrix[beside] @ vectors.T).max(axis=1))
                place += 1
        model.learn(one.end_us)
    return metrics.ranks(
        cases.targets.offsets,
        np.concatenate(actions),
        against.offsets,
        np.concatenate(impressions),
    )


def asked(
    found: Represented,
    case: int,
    policy: Policy,
    cases: Cases,
    user_ids: list[int | str],
    seed: int,
) -> Vectors:
    """Return the vectors of one case that a policy asks."""
    begin, end = found.offsets[case : case + 2]
    user = user_ids[int(cases.histories.users[case])]
    rng = generator(user, cases.day_of(case).isoformat(), seed)
    chosen, _ = ask(found.weights[begin:end], policy, int(end - begin) or 1, rng)
    return found.vectors[begin:end][chosen]


def measured(ranked: Ranks, new: Flags) -> dict[str, Sums]:
    """Return R-Precision and Reciprocal Rank of all, new and repeated actions."""
    found = {}
    for which in WHICH:
        mask = metrics.counted(new, which)
        found[f"r-precision, {which}"] = metrics.r_precision(ranked, mask)
        found[f"reciprocal rank, {which}"] = metrics.reciprocal_rank(ranked, mask)
    return found
