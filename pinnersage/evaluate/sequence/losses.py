"""Losses: how far an action is from being ranked above pins that were not acted on.

All are of cosines between the user's vector and pins (paper, section 5.3, names l2, hinge and
log-loss): of the action's pin, p, and of its negatives, n. Each is one number an action; entries
of negatives that are not kept count for nothing.
"""

import jax
import jax.numpy as jnp

MARGIN = 0.3
"""By how much an action's cosine has to be above a negative's, for the hinge."""
TEMPERATURE = 0.1
"""What cosines are divided by before the log-loss: they would be too small to tell pins apart."""


def l2(positive: jax.Array, negatives: jax.Array, kept: jax.Array) -> jax.Array:
    """Squared distance of cosines from 1 for the action and 0 for negatives, their mean.

    Parameters
    ----------
    positive : float32[m]
    negatives : float32[m, n]
    kept : bool[m, n]
    """
    return (1 - positive) ** 2 + _mean(negatives**2, kept)


def hinge(positive: jax.Array, negatives: jax.Array, kept: jax.Array) -> jax.Array:
    """By how much n is less than ``MARGIN`` below p, the mean over negatives."""
    return _mean(jnp.maximum(0.0, MARGIN - positive[:, None] + negatives), kept)


def log_loss(positive: jax.Array, negatives: jax.Array, kept: jax.Array) -> jax.Array:
    """Minus the log of the action's share among it and its negatives (sampled softmax)."""
    others = jnp.where(kept, negatives / TEMPERATURE, -jnp.inf)
    all_of_them = jnp.concatenate([positive[:, None] / TEMPERATURE, others], axis=1)
    return jax.nn.logsumexp(all_of_them, axis=1) - positive / TEMPERATURE


def _mean(values: jax.Array, kept: jax.Array) -> jax.Array:
    total = jnp.where(kept, values, 0.0).sum(axis=1)
    return total / jnp.maximum(kept.sum(axis=1), 1)


LOSSES = {"l2": l2, "hinge": hinge, "log": log_loss}
