"""Metrics: what an offline experiment measures, a number a case (sections 3 and 5.3).

    sums           what a measure gives, and which targets it counts
    retrieval      Relevance, Recall, hit rate, nDCG, MRR
    ranking        the paper's R-Precision and Reciprocal Rank, actions against impressions
    diversity      how unlike candidates are, how many pins come at all, how spread interests are
    false_matches  what a cosine threshold means for some embeddings

What takes long is computed once a model: ``places``, ``best_cosines``, ``ranks``. The measures are
made from these, as often as there are thresholds, k and kinds of target.
"""

from pinnersage.evaluate.metrics.diversity import (
    coverage,
    diversity,
    effective_interests,
    interest_entropy,
)
from pinnersage.evaluate.metrics.false_matches import false_match_rate, threshold_for
from pinnersage.evaluate.metrics.ranking import Ranks, r_precision, ranks, reciprocal_rank
from pinnersage.evaluate.metrics.retrieval import (
    best_cosines,
    hit_rate,
    mrr,
    ndcg,
    places,
    recall,
    relevance,
)
from pinnersage.evaluate.metrics.sums import Flat, Lists, Sums, Which, chosen, counted

__all__ = [
    "Flat",
    "Lists",
    "Ranks",
    "Sums",
    "Which",
    "best_cosines",
    "chosen",
    "counted",
    "coverage",
    "diversity",
    "effective_interests",
    "false_match_rate",
    "hit_rate",
    "interest_entropy",
    "mrr",
    "ndcg",
    "places",
    "r_precision",
    "ranks",
    "recall",
    "reciprocal_rank",
    "relevance",
    "threshold_for",
]
