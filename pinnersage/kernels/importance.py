"""Importance: how much a cluster matters to its user now (paper, eq. 3).

    importance(C) = Σ exp(-λ · age)   over every action of C

The sum runs over actions, never over collapsed points: each repeat has an age of its own.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def importance(
    ages_days: np.ndarray, labels: np.ndarray, n_clusters: int, decay_per_day: float
) -> np.ndarray:
    """Importance of each cluster.

    Parameters
    ----------
    ages_days : float64[n]
        Age of each action, at least 0.
    labels : intp[n]
        Cluster of each action, in ``0 .. n_clusters - 1``.
    n_clusters : int
    decay_per_day : float
        The paper's lambda, at least 0; 0 counts actions.

    Returns
    -------
    float64[n_clusters]
        Summed in the order of the actions, so equal ages in equal order give equal bits.
    """
    scores = np.zeros(n_clusters)
    for i in range(labels.size):
        scores[labels[i]] += np.exp(-decay_per_day * ages_days[i])
    return scores
