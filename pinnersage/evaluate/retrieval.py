"""Retrieval: how well a model's candidates cover what users then did (section 5.3.1, Table 4).

Each case is asked twice. Under ``all`` every pin may be a candidate, as in the paper, and all that
the user did counts, or her repeats alone. Under ``new`` what she had acted on before the day is
left out for every model alike, as whoever recommends new things does, and new pins count.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from pinnersage import parallel
from pinnersage.errors import DataError
from pinnersage.evaluate import metrics
from pinnersage.evaluate.cases import Cases, Targets
from pinnersage.evaluate.histories import Integers, Model, Represented, Vectors, offsets_of
from pinnersage.evaluate.metrics import Lists, Sums, Which
from pinnersage.evaluate.policies import BUDGETS, Budget, Policy, ask, candidates
from pinnersage.evaluate.search import Searcher
from pinnersage.retrieve import generator

Track = Literal["all", "new"]
TRACKS: tuple[Track, ...] = ("all", "new")
FIRST = 20
"""Candidates that hit rate and nDCG look at."""
CHUNK = 16
"""Cases that a thread takes at a time."""


class Protocol(NamedTuple):
    """What every model is measured by."""

    n_candidates: int
    threshold: float
    """Cosine from which a candidate is relevant to an action."""
    seed: int = 0
    threads: int = 1
    tracks: tuple[Track, ...] = TRACKS
    budgets: tuple[Budget, ...] = BUDGETS


class Key(NamedTuple):
    """One way to make candidates of a model's vectors."""

    policy: str
    budget: Budget


class Retrieval(NamedTuple):
    """What was measured of one model, by key and measure; a number a case each."""

    measured: dict[Key, dict[str, Sums]]
    """Measures are named as ``relevance, new``."""
    come: dict[Key, Integers]
    """Pins that anyone was recommended under ``all``: what coverage is of."""
    interests: Sums
    """Effective number of interests (``metrics.effective_interests``)."""
    vectors: Sums
    """Vectors a user."""


class Asked(NamedTuple):
    """Candidates of one case."""

    lists: dict[tuple[Key, Track], Integers]
    read: dict[Key, int]
    """Neighbours that were read at equal cost."""
    searches: dict[Key, int]


def run(
    model: Model,
    cases: Cases,
    user_ids: Sequence[int | str],
    searcher: Searcher,
    policies: Sequence[Policy],
    protocol: Protocol,
    progress: Callable[[int], None] | None = None,
) -> Retrieval:
    """Measure a model on days in order; it learns from each day once that day is measured.

    Parameters
    ----------
    model : Model
    cases : Cases
    user_ids : sequence of int or str
        Of every user of the log, by number: their draws are those of the service.
    searcher : Searcher
    policies : sequence of Policy
    protocol : Protocol
    progress : callable
        Told how many days are done, after each.

    Raises
    ------
    DataError
        There is no case.
    """
    if not cases.n:
        raise DataError(
            f"Nobody with a past acted from {cases.days[0]} to {cases.days[-1]}. Name days on "
            "which users acted who had acted within the window before."
        )
    parts = []
    with threadpool_limits(1, user_api="blas"):  # small products: more threads wait for each other
        for number, one in enumerate(cases.by_day()):
            if one.n:
                represented = model.represent(one.histories)
                asked = list(_ask_all(represented, one, user_ids, searcher, policies, protocol))
                parts.append(_measured(asked, one.targets, represented, searcher.matrix, protocol))
            model.learn(one.end_us)
            if progress:
                progress(number + 1)
    return _joined(parts)


def _ask_all(
    represented: Represented,
    cases: Cases,
    user_ids: Sequence[int | str],
    searcher: Searcher,
    policies: Sequence[Policy],
    protocol: Protocol,
) -> Iterator[Asked]:
    """Yield the candidates of each case, in order."""

    def ask_chunk(chunk: range) -> list[Asked]:
        return [ask_one(case) for case in chunk]

    def ask_one(case: int) -> Asked:
        begin, end = represented.offsets[case : case + 2]
        vectors, weights = represented.vectors[begin:end], represented.weights[begin:end]
        seen = cases.seen.rows[cases.seen.offsets[case] : cases.seen.offsets[case + 1]]
        user = user_ids[int(cases.histories.users[case])]
        day = cases.day_of(case).isoformat()
        asked = Asked({}, {}, {})
        for track in protocol.tracks:
            without = seen if track == "new" else seen[:0]
            found = searcher.search(vectors, protocol.n_candidates, without)
            for policy in policies:
                rng = generator(user, day, protocol.seed)
                chosen, shares = ask(weights, policy, protocol.n_candidates, rng)
                for budget in protocol.budgets:
                    key = Key(policy.name, budget)
                    rows = candidates(found, chosen, shares, protocol.n_candidates, budget)
                    asked.lists[key, track] = rows
                    asked.read[key], asked.searches[key] = int(shares.sum()), chosen.size
        return asked

    chunks = [range(i, min(i + CHUNK, cases.n)) for i in range(0, cases.n, CHUNK)]
    for part in parallel.in_order(ask_chunk, chunks, protocol.threads):
        yield from part


def _measured(
    asked: Sequence[Asked],
    targets: Targets,
    represented: Represented,
    matrix: Vectors,
    protocol: Protocol,
) -> Retrieval:
    """Return what one day's candidates measure."""
    measured: dict[Key, dict[str, Sums]] = {}
    come = dict[Key, Integers]()
    for key in asked[0].read:
        found = {
            "neighbours read": each([one.read[key] for one in asked]),
            "searches": each([one.searches[key] for one in asked]),
        }
        for track in protocol.tracks:
            lists = together([one.lists[key, track] for one in asked])
            if track == "new":
                found |= _of(lists, targets, "new", matrix, protocol)
                continue
            found |= _of(lists, targets, "all", matrix, protocol)
            found |= _of(lists, targets, "repeats", matrix, protocol)
            found["diversity"] = metrics.diversity(lists, matrix)
            found["candidates"] = each(np.diff(lists.offsets))
            come[key] = np.unique(lists.rows)
        measured[key] = found
    return Retrieval(
        measured,
        come,
        metrics.effective_interests(represented.offsets, represented.weights),
        each(np.diff(represented.offsets)),
    )


def _of(
    lists: Lists, targets: Targets, which: Which, matrix: Vectors, protocol: Protocol
) -> dict[str, Sums]:
    """Return the measures of candidates on some of the targets."""
    mask = metrics.counted(targets.new, which)
    found = metrics.places(lists, targets)
    best = metrics.best_cosines(lists, targets, matrix)
    return {
        f"relevance, {which}": metrics.relevance(best, targets, mask, protocol.threshold),
        f"recall, {which}": metrics.recall(found, targets, mask),
        f"hit rate, {which}": metrics.hit_rate(found, targets, mask, FIRST),
        f"ndcg, {which}": metrics.ndcg(found, targets, mask, FIRST),
        f"mrr, {which}": metrics.mrr(found, targets, mask),
    }


def of_users(found: Retrieval) -> dict[str, Sums]:
    """Return what does not depend on how vectors are asked: how many, and how spread they are."""
    there = found.interests.counts > 0
    entropy = np.log(np.where(there, found.interests.hits, 1.0))
    return {"vectors": found.vectors, "interest entropy": Sums(entropy, found.interests.counts)}


def together(lists: Sequence[Integers]) -> Lists:
    """Return lists of rows as one."""
    offsets = offsets_of(np.array([rows.size for rows in lists], np.intp))
    return Lists(offsets, np.concatenate([np.empty(0, np.intp), *lists]))


def each(values: Sequence[int] | Integers) -> Sums:
    """Return a number a case as a measure whose value is their mean."""
    numbers = np.asarray(values, np.float64)
    return Sums(numbers, np.ones(numbers.size))


def _joined(parts: Sequence[Retrieval]) -> Retrieval:
    """Return what all days measure."""
    return Retrieval(
        {
            key: {
                name: joined([p.measured[key][name] for p in parts])
                for name in parts[0].measured[key]
            }
            for key in parts[0].measured
        },
        {key: np.unique(np.concatenate([p.come[key] for p in parts])) for key in parts[0].come},
        joined([part.interests for part in parts]),
        joined([part.vectors for part in parts]),
    )


def joined(parts: Sequence[Sums]) -> Sums:
    """Return a measure of several days as one."""
    none = np.empty(0)
    return Sums(
        np.concatenate([none, *(part.hits for part in parts)]),
        np.concatenate([none, *(part.counts for part in parts)]),
    )
