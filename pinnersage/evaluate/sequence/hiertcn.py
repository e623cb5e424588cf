"""HierTCN: a GRU over sittings above convolutions within one (You et al., WWW 2019).

High level: the mean of a sitting's pins is one input of a GRU; its state, before a sitting, is
the user's long-term interest. Low level: causal convolutions along the actions of a sitting,
each of which also sees that state. A convolution never reaches into another sitting: what was
before is in the state. So the last action's output knows its sitting in detail and those before
it in sum.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pinnersage.evaluate.sequence.recurrent import Network, Parameters, draw_gru, gru, matrix

TAPS = 3
"""Actions that one convolution sees: its own and two before it, a dilation apart."""
DILATIONS = (1, 2, 4, 8)
"""Of the convolutions, one above the other: the last sees 31 actions."""


def draw(rng: np.random.Generator, d: int, size: int) -> Parameters:
    """Parameters for pins of d dimensions and states of a size."""
    return {
        "long_term": draw_gru(rng, d, size),
        "input": matrix(rng, d + size, size),
        "convolutions": [
            {
                "taps": jnp.stack([matrix(rng, size, size) / TAPS for _ in range(TAPS)]),
                "bias": jnp.zeros(size),
            }
            for _ in DILATIONS
        ],
        "head": matrix(rng, size, d),
    }


def membership(sittings: jax.Array) -> jax.Array:
    """float32[b, t, t]: 1 where action i of a line is of its sitting j, else 0."""
    return (sittings[:, :, None] == jnp.arange(sittings.shape[1])).astype(jnp.float32)


def sitting_means(pins: jax.Array, member: jax.Array) -> jax.Array:
    """float32[b, t, d]: mean of the pins of sitting 0, 1, … of each line; zero where there is none.

    Parameters
    ----------
    pins : float32[b, t, d]
    member : float32[b, t, t]
        See ``membership``.
    """
    counts = member.sum(axis=1)[:, :, None]
    return jnp.einsum("bij,bid->bjd", member, pins) / jnp.maximum(counts, 1)


def convolution(
    taps: jax.Array, inputs: jax.Array, sittings: jax.Array, dilation: int
) -> jax.Array:
    """float32[b, t, m]: sum over k of inputs[t - k * dilation] @ taps[k], within the sitting.

    Parameters
    ----------
    taps : float32[k, n, m]
    inputs : float32[b, t, n]
    sittings : int32[b, t]
    dilation : int
    """
    length = inputs.shape[1]
    result = inputs @ taps[0]
    for number, tap in enumerate(taps[1:], 1):
        back = number * dilation
        if back >= length:
            break
        then = jnp.pad(inputs[:, :-back], ((0, 0), (back, 0), (0, 0)))
        sitting = jnp.pad(sittings[:, :-back], ((0, 0), (back, 0)), constant_values=-1)
        result += jnp.where((sitting == sittings)[:, :, None], then, 0.0) @ tap
    return result


def vectors(parameters: Parameters, pins: jax.Array, sittings: jax.Array) -> jax.Array:
    """float32[b, t, d]: the user after each action."""
    member = membership(sittings)
    after = gru(parameters["long_term"], sitting_means(pins, member))
    # The state that a sitting begins with is the one after the sitting before it.
    begin = jnp.pad(after[:, :-1], ((0, 0), (1, 0), (0, 0)))
    long_term = jnp.einsum("bij,bjs->bis", member, begin)
    layer = jnp.concatenate([pins, long_term], axis=-1) @ parameters["input"]
    for number, dilation in enumerate(DILATIONS):
        one = parameters["convolutions"][number]
        layer += jax.nn.relu(convolution(one["taps"], layer, sittings, dilation) + one["bias"])
    return jnp.matmul(layer, parameters["head"])


HIERTCN = Network(draw, vectors)
