"""Tuning: merge threshold, policy and decay, chosen on the days before the test days.

One after another, each at the best of those before: first merge threshold and policy together,
with the paper's decay; then the decay, where the paper's own stands unless another is better by
more than chance. The criterion is Recall on new items at equal cost: what a
recommender is for, at the price of one search of the same depth.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pinnersage.errors import DataError
from pinnersage.evaluate import clusterers, lifts, retrieval
from pinnersage.evaluate.cases import Cases
from pinnersage.evaluate.models import Grouped, PinnerSage
from pinnersage.evaluate.policies import PAPER, Policy
from pinnersage.evaluate.results import Candidate, SweepPoint
from pinnersage.evaluate.retrieval import Key, Protocol, Retrieval
from pinnersage.evaluate.search import Searcher
from pinnersage.sweep import HEAVY_ACTIONS, LIGHT_ACTIONS

CRITERION = "recall, new"
DECAYS = (0.0, 0.01, 0.1)
"""The paper's."""
PAPER_DECAY = 0.01
POLICIES = (PAPER, Policy("top", 10, "weight"), Policy("all"), Policy("all", share="weight"))
MEASURES = ("relevance, new", "recall, new")


class Tuned(NamedTuple):
    """What the tuning days say."""

    merge_threshold: float
    decay_per_day: float
    policy: Policy
    complete_threshold: float
    """Complete linkage's own, with the chosen policy and the paper's decay."""
    paper_threshold: float
    """The merge threshold at which the paper's policy is best."""
    tried: list[Candidate]
    sweep: list[SweepPoint]


class Tuner:
    """Measures candidates on the tuning days.

    Parameters
    ----------
    cases : Cases
        Of the tuning days.
    user_ids : list of int or str
    searcher : Searcher
    protocol : Protocol
    kept : callable
        Given a name and what to do, returns what is remembered by that name, or does it.
    """

    def __init__(
        self,
        cases: Cases,
        user_ids: list[int | str],
        searcher: Searcher,
        protocol: Protocol,
        kept: Callable[[str, Callable[[], Retrieval]], Retrieval],
    ) -> None:
        self.cases = cases
        self.user_ids = user_ids
        self.searcher = searcher
        self.protocol = protocol._replace(tracks=("new",), budgets=("equal cost",))
        self.kept = kept
        self.tried: list[Candidate] = []

    def choose(self, merge_thresholds: Sequence[float]) -> Tuned:
        """Return the choice; of equal candidates the first.

        Raises
        ------
        DataError
            Nobody did anything new on the tuning days: nothing can be chosen by that.
        """
        if not self.cases.targets.new.any():
            raise DataError(
                f"Nothing was chosen: on the tuning days, {self.cases.days[0]} to "
                f"{self.cases.days[-1]}, nobody acted on a pin that was new to her. Take more days."
            )
        measured = {alpha: self._ward(alpha, PAPER_DECAY, POLICIES) for alpha in merge_thresholds}
        alpha, policy = max(
            ((alpha, policy) for alpha in measured for policy in POLICIES),
            key=lambda one: value(measured[one[0]], one[1]),
        )
        decays = {
            decay: measured[alpha] if decay == PAPER_DECAY else self._ward(alpha, decay, (policy,))
            for decay in DECAYS
        }
        of_paper = {a: value(found, PAPER) for a, found in measured.items()}
        complete = {limit: self._complete(limit, policy) for limit in merge_thresholds}
        return Tuned(
            merge_threshold=alpha,
            decay_per_day=self._decay(decays, policy),
            policy=policy,
            complete_threshold=best({a: value(found, policy) for a, found in complete.items()}),
            paper_threshold=best(of_paper),
            tried=self.tried,
            sweep=[self._point(a, found, policy) for a, found in measured.items()],
        )

    def _decay(self, found: dict[float, Retrieval], policy: Policy) -> float:
        """Return the paper's decay, unless another is better by more than chance would have it."""
        key, users = Key(policy.name, "equal cost"), self.cases.histories.users
        sums = {str(decay): one.measured[key][CRITERION] for decay, one in found.items()}
        gains = lifts.lifts(sums[str(PAPER_DECAY)], sums, users, seed=self.protocol.seed)
        better = {
            decay: value(one, policy)
            for decay, one in found.items()
            if (gains[str(decay)].lift.low or 0.0) > 0
        }
        return best(better) if better else PAPER_DECAY

    def _ward(self, alpha: float, decay: float, policies: Sequence[Policy]) -> Retrieval:
        model = PinnerSage(self.searcher.matrix, alpha, decay, threads=self.protocol.threads)
        asked = "; ".join(policy.name for policy in policies)
        name = f"tuning ward {alpha} {decay}: {asked}"
        found = self.kept(name, lambda: self._run(model, policies))
        for policy in policies:
            self.tried.append(
                Candidate(
                    merge_threshold=alpha,
                    decay_per_day=decay,
                    policy=policy.name,
                    values=values(found, policy),
                )
            )
        return found

    def _complete(self, limit: float, policy: Policy) -> Retrieval:
        model = Grouped(
            self.searcher.matrix,
            clusterers.complete(limit),
            "PinnerSage, complete linkage",
            threads=self.protocol.threads,
        )
        name = f"tuning complete {limit} {policy.name}"
        return self.kept(name, lambda: self._run(model, (policy,)))

    def _run(self, model: PinnerSage | Grouped, policies: Sequence[Policy]) -> Retrieval:
        return retrieval.run(
            model, self.cases, self.user_ids, self.searcher, policies, self.protocol
        )

    def _point(self, alpha: float, found: Retrieval, policy: Policy) -> SweepPoint:
        """Return what the page shows of one merge threshold."""
        n_actions = np.diff(self.cases.histories.offsets)
        groups = {
            "all": np.ones(n_actions.size, bool),
            "light": n_actions <= LIGHT_ACTIONS,
            "heavy": n_actions >= HEAVY_ACTIONS,
        }
        model = PinnerSage(self.searcher.matrix, alpha, threads=self.protocol.threads)
        clusters = model.clusters(self.cases.histories)
        counts = np.diff(clusters.offsets)
        cosines = float(clusters.cohesion @ clusters.n_actions)
        return SweepPoint(
            merge_threshold=alpha,
            clusters={
                name: float(np.median(counts[members])) if members.any() else None
                for name, members in groups.items()
            },
            mean_cohesion=cosines / float(clusters.n_actions.sum()),
            values=values(found, policy),
        )


def value(found: Retrieval, policy: Policy) -> float:
    """Return the criterion of one policy."""
    return found.measured[Key(policy.name, "equal cost")][CRITERION].value or 0.0


def values(found: Retrieval, policy: Policy) -> dict[str, float | None]:
    """Return what candidates are shown with."""
    sums = found.measured[Key(policy.name, "equal cost")]
    return {measure: sums[measure].value for measure in MEASURES}


def best(found: dict[float, float]) -> float:
    """Return the key of the largest value, of equal ones the first."""
    return max(found, key=lambda key: found[key])
