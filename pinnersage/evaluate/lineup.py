"""Lineup: the models of the paper's tables, under the names that its rows have here."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from pinnersage.evaluate import clusterers
from pinnersage.evaluate.histories import Model, Vectors
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.models import DecayAverage, Grouped, LastPin, PinnerSage
from pinnersage.evaluate.policies import PAPER, POLICIES, SINGLE, Policy
from pinnersage.evaluate.popular import Popular
from pinnersage.evaluate.tuning import DECAYS as DECAYS_TRIED
from pinnersage.evaluate.tuning import PAPER_DECAY, Tuned
from pinnersage.evaluate.words import ALPHA

MAIN = "PinnerSage"
K_MEANS = f"{MAIN}, k-means (k = 5)"
COMPLETE = f"{MAIN}, complete linkage"
DECAYS = (0.0, 0.01, 0.1, 0.25)
"""Of the decay averages (section 5.3)."""
MOST_VECTORS = 10
"""Of Figure 7."""
ONE = Policy("sample", 1)


class Entry(NamedTuple):
    """A model, and the policies that it is measured with."""

    name: str
    model: Model
    policies: tuple[Policy, ...]
    single: bool = False
    """Whether it makes one vector a user; no policy chooses among one."""
    about: str = ""
    """What it depends on beside its name."""

    def fresh(self) -> Model:
        """Return the model as it was before any test day: one that learns is changed by them."""
        return copy.deepcopy(self.model)


def singles(matrix: Vectors) -> list[Entry]:
    """Return the models of one vector that learn nothing; the last pin, the base, first."""
    models: list[Model] = [LastPin(matrix), *(DecayAverage(matrix, decay) for decay in DECAYS)]
    return [Entry(model.name, model, (SINGLE,), single=True) for model in models]


def popular(log: Log, window_days: int) -> Entry:
    """Return what everybody is recommended alike."""
    model = Popular(log, window_days)
    return Entry(model.name, model, (SINGLE,), single=True)


def several(matrix: Vectors, tuned: Tuned, seed: int, threads: int) -> list[Entry]:
    """Return the models of several vectors.

    All share the chosen merge threshold, and each is measured with the paper's policy and with the
    chosen one; PinnerSage itself with every policy, and with 1 to 10 sampled vectors (Figure 7).
    Where the paper's policy is best at another threshold, PinnerSage stands there with that too.
    """
    main = PinnerSage(matrix, tuned.merge_threshold, PAPER_DECAY, threads=threads)
    two = unique((PAPER, tuned.policy))
    figure = [Policy("sample", e) for e in range(1, MOST_VECTORS + 1)]
    five, complete = clusterers.kmeans(5, seed), clusterers.complete(tuned.complete_threshold)
    own = tuned.paper_threshold
    at_its_own = Entry(f"{MAIN}, {ALPHA} = {own:g}", replace(main, merge_threshold=own), two)
    return [
        Entry(MAIN, main, unique((*POLICIES, tuned.policy, *figure))),
        *(
            Entry(f"{MAIN}, λ = {decay:g}", replace(main, decay_per_day=decay), two)
            for decay in DECAYS_TRIED
            if decay != PAPER_DECAY
        ),
        *([at_its_own] if own != tuned.merge_threshold else []),
        Entry(f"{MAIN}, centroid", replace(main, embedding="centroid"), two),
        Entry(K_MEANS, Grouped(matrix, five, "", threads=threads), two),
        Entry(COMPLETE, Grouped(matrix, complete, "", threads=threads), two),
    ]


def chosen_name(tuned: Tuned) -> str:
    """Return the name of the model that the tuning days chose."""
    decay = tuned.decay_per_day
    return MAIN if decay == PAPER_DECAY else f"{MAIN}, λ = {decay:g}"


def unique(policies: Sequence[Policy]) -> tuple[Policy, ...]:
    """Return the policies, each once."""
    return tuple(dict.fromkeys(policies))
