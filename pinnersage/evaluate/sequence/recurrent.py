"""GRU and LSTM: one state a user, updated by each action (Cho et al., 2014; Hochreiter, 1997).

A network is two functions: one draws its parameters, one makes a vector of pin space after each
action from that action and those before it. Nothing is masked: a state never depends on what
comes later, so what lies behind a user's last action is computed and not read.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Parameters = dict[str, Any]


class Network(NamedTuple):
    """A way to make vectors from sequences."""

    draw: Callable[[np.random.Generator, int, int], Parameters]
    """(rng, d, size of the state) to parameters."""
    vectors: Callable[[Parameters, jax.Array, jax.Array], jax.Array]
    """(parameters, float32[b, t, d] pins, int32[b, t] sittings) to float32[b, t, d], any length."""


def matrix(rng: np.random.Generator, n_in: int, n_out: int, parts: int = 1) -> jax.Array:
    """float32[n_in, parts * n_out]: uniform, of Glorot's range for each part."""
    most = np.sqrt(6 / (n_in + n_out))
    return jnp.asarray(rng.uniform(-most, most, (n_in, parts * n_out)), jnp.float32)


def draw_gru(rng: np.random.Generator, n_in: int, size: int) -> Parameters:
    """Parameters of a GRU cell."""
    return {
        "input": matrix(rng, n_in, size, 3),
        "state": matrix(rng, size, size, 3),
        "bias": jnp.zeros(3 * size),
        "state_bias": jnp.zeros(size),
    }


def gru_step(parameters: Parameters, state: jax.Array, inputs: jax.Array) -> jax.Array:
    """State after one more input; s is the logistic function.

        r = s(W_r x + U_r h + b_r)             how much of the state the candidate sees
        z = s(W_z x + U_z h + b_z)             how much of the state stays
        c = tanh(W_c x + b_c + r (U_c h + v))  the candidate
        h' = z h + (1 - z) c

    Parameters
    ----------
    parameters
        See ``draw_gru``; parts stand in the order r, z, c.
    state : float32[b, size]
    inputs : float32[b, 3 * size]
        W x + b: made for all steps at once, outside the loop.
    """
    from_state = state @ parameters["state"]
    r_in, z_in, c_in = jnp.split(inputs, 3, axis=-1)
    r_state, z_state, c_state = jnp.split(from_state, 3, axis=-1)
    reset = jax.nn.sigmoid(r_in + r_state)
    stays = jax.nn.sigmoid(z_in + z_state)
    candidate = jnp.tanh(c_in + reset * (c_state + parameters["state_bias"]))
    return stays * state + (1 - stays) * candidate


def gru(parameters: Parameters, inputs: jax.Array) -> jax.Array:
    """float32[b, t, size]: states after each of float32[b, t, n_in] inputs, from zero."""
    prepared = inputs @ parameters["input"] + parameters["bias"]
    start = jnp.zeros((inputs.shape[0], parameters["state"].shape[0]))

    def step(state: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = gru_step(parameters, state, now)
        return state, state

    _, states = jax.lax.scan(step, start, jnp.swapaxes(prepared, 0, 1))
    return jnp.swapaxes(states, 0, 1)


def draw_lstm(rng: np.random.Generator, n_in: int, size: int) -> Parameters:
    """Parameters of an LSTM cell; it begins by forgetting little (bias 1)."""
    bias = np.zeros(4 * size, np.float32)
    bias[size : 2 * size] = 1
    return {
        "input": matrix(rng, n_in, size, 4),
        "state": matrix(rng, size, size, 4),
        "bias": jnp.asarray(bias),
    }


def lstm_step(
    parameters: Parameters, state: tuple[jax.Array, jax.Array], inputs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Output and memory after one more input; s is the logistic function.

        i, f, o = s(W x + U h + b)   what goes in, what stays, what comes out
        g = tanh(W_g x + U_g h + b_g)
        c' = f c + i g
        h' = o tanh(c')

    Parameters
    ----------
    parameters
        See ``draw_lstm``; parts stand in the order i, f, g, o.
    state : two float32[b, size]
        Output h and memory c.
    inputs : float32[b, 4 * size]
        W x + b.
    """
    output, memory = state
    i, f, g, o = jnp.split(inputs + output @ parameters["state"], 4, axis=-1)
    memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(memory), memory


def lstm(parameters: Parameters, inputs: jax.Array) -> jax.Array:
    """float32[b, t, size]: outputs after each of float32[b, t, n_in] inputs, from zero."""
    prepared = inputs @ parameters["input"] + parameters["bias"]
    nothing = jnp.zeros((inputs.shape[0], parameters["state"].shape[0]))

    def step(
        state: tuple[jax.Array, jax.Array], now: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        state = lstm_step(parameters, state, now)
        return state, state[0]

    _, outputs = jax.lax.scan(step, (nothing, nothing), jnp.swapaxes(prepared, 0, 1))
    return jnp.swapaxes(outputs, 0, 1)


def _network(
    draw_cell: Callable[[np.random.Generator, int, int], Parameters],
    run: Callable[[Parameters, jax.Array], jax.Array],
) -> Network:
    """A cell over actions, and a linear map from its output to pin space."""

    def draw(rng: np.random.Generator, d: int, size: int) -> Parameters:
        return {"cell": draw_cell(rng, d, size), "head": matrix(rng, size, d)}

    def vectors(parameters: Parameters, pins: jax.Array, _sittings: jax.Array) -> jax.Array:
        return jnp.matmul(run(parameters["cell"], pins), parameters["head"])

    return Network(draw, vectors)


GRU = _network(draw_gru, gru)
LSTM = _network(draw_lstm, lstm)
