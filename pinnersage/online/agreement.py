"""Agreement: how near two clusterings of one user's actions are, such as online's and a batch's.

Three measures, from strict to mild: the clusters are the same sets of actions (``identical``); how
many of the medoids are the same pins (``jaccard``); how near the medoids of one lie to those of
the other (``cosine``), which is what retrieval notices.
"""

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError
from pinnersage.model import Floats, Integers


def identical(labels_a: npt.ArrayLike, labels_b: npt.ArrayLike) -> bool:
    """Whether two clusterings put the same actions together; how they number clusters is no matter.

    Parameters
    ----------
    labels_a, labels_b : intp[n]
        Cluster of each action, of the same actions in the same order. Without actions they agree.

    Raises
    ------
    DataError
        They are of different numbers of actions.
    """
    a, b = np.asarray(labels_a), np.asarray(labels_b)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(
            f"labels have the shapes {a.shape} and {b.shape} (limit: one entry an action in both). "
            "Compare clusterings of the same actions."
        )
    return bool(np.array_equal(_firsts(a), _firsts(b)))


def _firsts(labels: Integers) -> Integers:
    """First action of each action's cluster: the same for the same clusters, however numbered."""
    _, firsts, places = np.unique(labels, return_index=True, return_inverse=True)
    return firsts[places]


def jaccard(medoids_a: npt.ArrayLike, medoids_b: npt.ArrayLike) -> float:
    """Medoids that both have, as a share of those that either has; 1 where neither has any.

    Parameters
    ----------
    medoids_a, medoids_b : array of pins or of their rows
        In any order.
    """
    a, b = set(np.asarray(medoids_a).tolist()), set(np.asarray(medoids_b).tolist())
    return len(a & b) / len(a | b) if a or b else 1.0


def cosine(
    vectors_a: npt.ArrayLike,
    weights_a: npt.ArrayLike,
    vectors_b: npt.ArrayLike,
    weights_b: npt.ArrayLike,
) -> float:
    """How near the medoids of each lie to those of the other, weighted by importance.

    For each medoid the cosine to the nearest of the other side; the mean of a side by weight; and
    the mean of both sides.

    Parameters
    ----------
    vectors_a, vectors_b : float[k, d]
        Vectors of the medoids, none of length zero.
    weights_a, weights_b : float[k]
        Importance of each; at least 0, and not all 0.

    Returns
    -------
    float
        -1 to 1; 1 for equal vectors. 1 where neither has a medoid, 0 where one has none.

    Raises
    ------
    DataError
        Vectors or weights are not as described.
    """
    a, share_a = _directions("a", vectors_a, weights_a)
    b, share_b = _directions("b", vectors_b, weights_b)
    if not a.size or not b.size:
        return float(a.size == b.size)
    cosines = a @ b.T
    both = share_a @ cosines.max(axis=1) + share_b @ cosines.max(axis=0)
    return float(np.clip(both / 2, -1, 1))


def _directions(side: str, vectors: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Unit vectors of one side, and their shares of the weight."""
    points, given = np.asarray(vectors, np.float64), np.asarray(weights, np.float64)
    if given.ndim != 1 or len(points) != given.size:
        raise DataError(
            f"vectors_{side} have the shape {points.shape}, weights_{side} {given.shape} "
            "(limit: one of each a medoid). Pass both of the same medoids."
        )
    if not given.size:
        return points, given
    lengths = np.linalg.norm(points, axis=1)
    if not (np.all(lengths > 0) and np.all(lengths < np.inf)):
        raise DataError(
            f"vectors_{side}: a medoid's vector has no direction (limit: finite, not zero). "
            "Read the vectors again from the embeddings."
        )
    if not (np.all(given >= 0) and 0 < given.sum() < np.inf):
        raise DataError(
            f"weights_{side} are {given.min():g} to {given.max():g} (limit: at least 0, not all "
            "0, finite). Pass the importance of each medoid."
        )
    return points / lengths[:, None], given / given.sum()
