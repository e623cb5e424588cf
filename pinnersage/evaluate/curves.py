"""Curves: the paper's plots as data, and lifts by how much users do."""

import numpy as np

from pinnersage.evaluate import lifts, metrics
from pinnersage.evaluate.cases import Cases
from pinnersage.evaluate.histories import Flags, Integers, Vectors
from pinnersage.evaluate.lineup import MOST_VECTORS
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.policies import SINGLE, Budget, Policy
from pinnersage.evaluate.results import Curve, CurvePoint, Estimate, Group, Timeline
from pinnersage.evaluate.retrieval import Key, Retrieval
from pinnersage.evaluate.tables import estimate

N_GROUPS = 4
N_TIMELINES = 3
FEWEST_ACTIONS = 30
"""A user's, to be shown in Figure 3."""
BUDGET: Budget = "equal cost"


def diversity_against_relevance(
    last_pin: Retrieval, found: Retrieval, cases: Cases, matrix: Vectors, seed: int
) -> Curve:
    """Return Figure 7: 1 to 10 sampled embeddings, as lifts over the last pin (section 5.3.3)."""
    base = last_pin.measured[Key(SINGLE.name, BUDGET)]
    users = cases.histories.users
    named = {
        e: found.measured[Key(Policy("sample", e).name, BUDGET)] for e in range(1, MOST_VECTORS + 1)
    }

    def lifted(measure: str) -> dict[str, lifts.Lift]:
        models = {str(e): sums[measure] for e, sums in named.items()}
        return lifts.lifts(base[measure], models, users, seed=seed)

    relevance, recall, diversity = map(lifted, ("relevance, all", "recall, all", "diversity"))
    own = metrics.diversity(cases.targets, matrix)
    value = lifts.lifts(base["diversity"], {"": own}, users, seed=seed)[""]
    return Curve(
        points=[
            CurvePoint(
                n_vectors=e,
                relevance=estimate(relevance[str(e)].value),
                recall=estimate(recall[str(e)].value),
                diversity=estimate(diversity[str(e)].value),
                relevance_lift=estimate(relevance[str(e)].lift),
                diversity_lift=estimate(diversity[str(e)].lift),
            )
            for e in named
        ],
        actions_diversity=estimate(value.value),
        actions_diversity_lift=value.lift.value,
    )


def by_activity(
    base: dict[str, Sums], chosen: dict[str, Sums], cases: Cases, seed: int
) -> list[Group]:
    """Return lifts of the chosen model among users of like activity, in four groups of cases."""
    n_actions = np.diff(cases.histories.offsets)
    edges = np.unique(np.quantile(n_actions, np.linspace(0, 1, N_GROUPS + 1), method="nearest"))
    place = np.clip(np.searchsorted(edges[1:], n_actions), 0, max(edges.size - 2, 0))
    return [
        _group(base, chosen, cases.histories.users, n_actions, place == g, seed)
        for g in np.unique(place)
    ]


def _group(
    base: dict[str, Sums],
    chosen: dict[str, Sums],
    users: Integers,
    n_actions: Integers,
    members: Flags,
    seed: int,
) -> Group:
    def part(sums: Sums) -> Sums:
        return Sums(sums.hits[members], sums.counts[members])

    found: dict[str, Estimate] = {
        measure: estimate(
            lifts.lifts(
                part(base[measure]), {"": part(chosen[measure])}, users[members], seed=seed
            )[""].lift
        )
        for measure in ("relevance, new", "recall, new")
    }
    least, most = n_actions[members].min(), n_actions[members].max()
    return Group(
        label=f"{least:,} to {most:,} actions in the window",
        n_users=np.unique(users[members]).size,
        n_cases=int(members.sum()),
        lifts=found,
    )


def timelines(cases: Cases, matrix: Vectors, seed: int) -> list[Timeline]:
    """Return Figure 3 for a few users drawn from those who did enough: none is named."""
    offsets = cases.histories.offsets
    able = np.flatnonzero(np.diff(offsets) >= FEWEST_ACTIONS)
    _, first = np.unique(cases.histories.users[able], return_index=True)
    able = able[np.sort(first)]
    rng = np.random.default_rng(seed)
    shown = np.sort(rng.choice(able, min(N_TIMELINES, able.size), replace=False))
    return [_timeline(cases, matrix, int(offsets[i]), int(offsets[i + 1])) for i in shown]


def _timeline(cases: Cases, matrix: Vectors, begin: int, end: int) -> Timeline:
    rows = cases.histories.rows[begin:end]
    cosines = matrix[rows] @ matrix[rows[-1]]
    return Timeline(
        ages_days=np.round(cases.histories.ages_days[begin:end], 3).tolist(),
        cosines=np.round(cosines, 3).astype(float).tolist(),
    )
