"""Policies: from a user's vectors to candidates (section 5.3.1).

Two budgets. At *equal cost* as many neighbours are read for every model: each vector brings its
share, what two vectors share counts once, and a set may be smaller ("due to overlap it can be less
than 400"). At *equal candidates* every set is as large: what overlaps is made up for by the next
neighbours, by the same shares (``allocate.filled``).
"""

from typing import Literal, NamedTuple

import numpy as np

from pinnersage import allocate
from pinnersage.evaluate.histories import Floats, Integers
from pinnersage.evaluate.search import Found
from pinnersage.retrieve import sample_medoids
from pinnersage.stores.neighbours import Near

Budget = Literal["equal cost", "equal candidates"]
BUDGETS: tuple[Budget, ...] = ("equal cost", "equal candidates")


class Policy(NamedTuple):
    """Which of a user's vectors are asked, and how many candidates each brings."""

    select: Literal["sample", "top", "all"]
    """``sample``: drawn by weight without replacement (the paper's); ``top``: of largest weight."""
    n_vectors: int = 0
    share: Literal["equal", "weight"] = "equal"
    """``equal``: floor(n_candidates / e) each; ``weight``: in proportion to weight."""

    @property
    def name(self) -> str:
        """How tables call it."""
        which = {
            "sample": f"sample {self.n_vectors}",
            "top": f"top {self.n_vectors}",
            "all": "all",
        }[self.select]
        return f"{which}, {'equal' if self.share == 'equal' else 'proportional'} shares"


SINGLE = Policy("top", 1)
PAPER = Policy("sample", 3)
POLICIES = (
    Policy("sample", 1),
    PAPER,
    Policy("top", 3),
    Policy("top", 10),
    Policy("top", 10, "weight"),
    Policy("all"),
    Policy("all", share="weight"),
)
"""What is compared for a model of many vectors."""


def ask(
    weights: Floats, policy: Policy, n_candidates: int, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Return which vectors are asked, and each one's share of the candidates, above 0.

    Parameters
    ----------
    weights : float64[k]
        Of one user's vectors, largest first; of none, none is asked.
    policy : Policy
    n_candidates : int
        At least 1. Vectors beyond as many are never asked.
    rng : Generator
        For ``sample``.
    """
    if not weights.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    if policy.select == "sample":
        chosen = sample_medoids(weights, policy.n_vectors, rng=rng)
    else:
        most = policy.n_vectors if policy.select == "top" else weights.size
        chosen = np.arange(min(most, weights.size))
    chosen = chosen[:n_candidates]
    if policy.share == "equal":
        return chosen, np.full(chosen.size, n_candidates // chosen.size, np.intp)
    shares = allocate.shares(weights[chosen], n_candidates)
    return chosen[shares > 0], shares[shares > 0]


def candidates(
    found: Found, chosen: Integers, shares: Integers, n_candidates: int, budget: Budget
) -> Integers:
    """Return rows of the candidates, best first, none twice.

    Parameters
    ----------
    found : Found
        The nearest pins of all of the user's vectors, as deep as ``n_candidates``.
    chosen, shares : intp[e]
        From ``ask``.
    """
    near = [
        Near(rows[rows >= 0], cosines[rows >= 0])
        for rows, cosines in zip(found.rows[chosen], found.cosines[chosen], strict=True)
    ]
    if budget == "equal cost":
        return np.asarray(allocate.merged(near, shares).rows, np.intp)
    return np.asarray(allocate.filled(near, shares, n_candidates).rows, np.intp)
