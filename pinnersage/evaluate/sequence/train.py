"""Training: batches of windows, steps of Adam, and the curve of losses.

Every step draws some transitions of a batch's windows, of each one pin of the sitting that it
leads to, and negatives; the loss ranks the pin above them by cosine to the user's vector at the
end of the sitting before. A transition counts the same however large its sitting is.
Batches are drawn from a seeded generator and all have one shape: the same log and seed give the
same parameters on the same machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from pinnersage.errors import ConfigError
from pinnersage.evaluate.histories import Integers, Vectors, gathered
from pinnersage.evaluate.sequence import negatives
from pinnersage.evaluate.sequence.losses import LOSSES
from pinnersage.evaluate.sequence.negatives import Catalogue
from pinnersage.evaluate.sequence.recurrent import Network, Parameters
from pinnersage.evaluate.sequence.windows import US_PER_HOUR, Actions, Windows, padded

CLIP = 1.0
"""Longest slope that a step follows; longer ones are shortened to it."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained. Loss and negatives were chosen on tuning days (decision 43)."""

    loss: str = "log"
    """l2, hinge or log."""
    negatives: tuple[str, ...] = ("random", "hard")
    """Kinds of negatives, each with its share: random, popular, hard."""
    n_negatives: int = 256
    """Random and popular pins a step, which all its actions share."""
    n_hard: int = 16
    """Hard negatives an action."""
    size: int = 64
    """Of the states."""
    window: int = 100
    """Actions that a user is known by, the newest ones."""
    sitting_gap_hours: float = 6.0
    """Longest time between two actions of a sitting."""
    batch: int = 32
    """Windows a step."""
    targets: int = 256
    """Actions a step that are ranked."""
    epochs: int = 12
    """Passes over the windows; the parameters of the pass with the least held-out loss stay."""
    learning_rate: float = 2e-3
    held_out: float = 0.1
    """Share of users who are not trained on; they say how the loss falls for others."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_negatives", "n_hard", "size", "window", "batch", "targets", "epochs"):
            if (number := getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {number}; at least 1 is needed.")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}, not between 0 and 1.")
        if self.sitting_gap_hours < 0:
            raise ConfigError(f"sitting_gap_hours is {self.sitting_gap_hours}, below 0.")
        for what, asked, known in (
            ("loss", {self.loss}, set(LOSSES)),
            ("kind of negatives", set(self.negatives), set(negatives.KINDS)),
        ):
            if not asked or asked - known:
                raise ConfigError(
                    f"No {what} is called {', '.join(asked - known) or 'nothing'}. "
                    f"There are {', '.join(sorted(known))}."
                )

    @property
    def gap_us(self) -> int:
        """The longest time within a sitting, microseconds."""
        return round(self.sitting_gap_hours * US_PER_HOUR)


class Curve(NamedTuple):
    """Mean losses, one entry a pass over the windows; entry 0 is before any step."""

    steps: list[int]
    """Steps taken by then."""
    train: list[float]
    held_out: list[float]


class Batch(NamedTuple):
    """One step's work; all of one shape."""

    rows: npt.NDArray[np.int32]
    sittings: npt.NDArray[np.int32]
    line: Integers
    """intp[m]: line of the rectangle that each ranked action is predicted from."""
    place: Integers
    """intp[m]: action in that line: the last of a sitting."""
    target: Integers
    """intp[m]: row of the pin that is ranked."""
    shared: Integers
    """intp[1, n]: negatives of all."""
    own: Integers
    """intp[m, k]: negatives of each."""
    kept: npt.NDArray[np.bool_]
    """bool[m, n + k]: whether a negative is one."""


def batch_of(
    actions: Actions,
    windows: Windows,
    chosen: Integers,
    pins: Catalogue,
    matrix: Vectors,
    training: Training,
    rng: np.random.Generator,
) -> Batch:
    """Draw one step's work from some windows, at most ``training.batch`` of them."""
    starts, stops = windows.starts[chosen], windows.stops[chosen]
    shape = training.batch, training.window
    rows, sittings = padded(actions, starts, stops, shape, training.gap_us)
    counts = np.diff(windows.offsets)[chosen]
    _, transitions = gathered(windows.offsets[chosen], counts)
    lines = np.repeat(np.arange(chosen.size), counts)
    drawn = rng.integers(transitions.size, size=training.targets)
    number, line = transitions[drawn], lines[drawn]
    next_starts, next_stops = windows.next_starts, windows.next_stops
    target = actions.rows[rng.integers(next_starts[number], next_stops[number])]
    shared, own = _draw_negatives(pins, matrix, target, training, rng)
    sizes = (next_stops - next_starts)[transitions]
    taken = actions.rows[gathered(next_starts[transitions], sizes)[1]]
    taken_in = np.repeat(transitions, sizes)
    kept = [
        negatives.is_negative(number, some, taken_in, taken, len(matrix)) for some in (shared, own)
    ]
    place = windows.ends[number] - starts[line]
    return Batch(rows, sittings, line, place, target, shared, own, np.concatenate(kept, axis=1))


def _draw_negatives(
    pins: Catalogue,
    matrix: Vectors,
    target: Integers,
    training: Training,
    rng: np.random.Generator,
) -> tuple[Integers, Integers]:
    draws = {"random": negatives.random_pins, "popular": negatives.popular_pins}
    kinds = [kind for kind in training.negatives if kind in draws]
    sizes = [len(part) for part in np.array_split(np.arange(training.n_negatives), len(kinds) or 1)]
    shared = [draws[kind](pins, n, rng) for kind, n in zip(kinds, sizes, strict=False)]
    own = np.empty((target.size, 0), np.intp)
    if "hard" in training.negatives:
        own = negatives.hard_pins(pins, matrix, target, training.n_hard, rng)
    return np.concatenate([np.empty(0, np.intp), *shared])[None, :], own


def unit(vectors: jax.Array) -> jax.Array:
    """Return vectors at unit length; a zero vector stays."""
    return vectors / jnp.sqrt(jnp.maximum((vectors**2).sum(axis=-1, keepdims=True), 1e-12))


class State(NamedTuple):
    """What training changes."""

    parameters: Parameters
    adam: Any
    """Means of slopes, as optax keeps them."""


@partial(jax.jit, static_argnames=("network", "loss"))
def mean_loss(
    network: Network, loss: str, parameters: Parameters, matrix: jax.Array, batch: Batch
) -> jax.Array:
    """Mean loss of a batch's ranked actions."""
    outputs = network.vectors(parameters, matrix[batch.rows], jnp.asarray(batch.sittings))
    users = unit(outputs[batch.line, batch.place])
    positive = (users * matrix[batch.target]).sum(axis=1)
    shared = users @ matrix[batch.shared[0]].T
    own = jnp.einsum("md,mkd->mk", users, matrix[batch.own])
    scores = jnp.concatenate([shared, own], axis=1)
    return LOSSES[loss](positive, scores, jnp.asarray(batch.kept)).mean()


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Steps along slopes of bounded length."""
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(learning_rate))


@partial(jax.jit, static_argnames=("network", "loss", "learning_rate"))
def step(
    network: Network,
    loss: str,
    learning_rate: float,
    state: State,
    matrix: jax.Array,
    batch: Batch,
) -> tuple[State, jax.Array]:
    """State after one step, and the loss before it."""
    slope_of = jax.value_and_grad(partial(mean_loss, network, loss))
    value, slope = slope_of(state.parameters, matrix, batch)
    change, means = adam(learning_rate).update(slope, state.adam)
    return State(optax.apply_updates(state.parameters, change), means), value


class Trainer:
    """Steps of Adam on a network; ``state`` is where they have come to.

    Parameters
    ----------
    network : Network
    matrix : float32[n_pins, d]
        Embeddings, unit length; they stay as they are.
    training : Training
    """

    def __init__(self, network: Network, matrix: Vectors, training: Training) -> None:
        self.matrix = jnp.asarray(matrix)
        self._embeddings = matrix
        self._network = network
        self._training = training
        self._rng = np.random.default_rng(training.seed)
        parameters = network.draw(self._rng, matrix.shape[1], training.size)
        self.state = State(parameters, adam(training.learning_rate).init(parameters))

    def n_steps(self, windows: Windows) -> int:
        """How many steps a pass takes."""
        return -(-windows.starts.size // self._training.batch)

    def one_pass(self, actions: Actions, windows: Windows, pins: Catalogue) -> float:
        """Take a step for every batch; the mean of their losses, each before its step."""
        losses = []
        for batch in self._batches(actions, windows, pins, self._rng):
            self.state, loss = step(
                self._network,
                self._training.loss,
                self._training.learning_rate,
                self.state,
                self.matrix,
                batch,
            )
            losses.append(loss)
        return float(np.mean(losses))

    def loss(self, actions: Actions, windows: Windows, pins: Catalogue) -> float:
        """Mean loss without a step; what is drawn is the same whenever it is asked for."""
        rng = np.random.default_rng(self._training.seed)
        losses = [
            mean_loss(self._network, self._training.loss, self.state.parameters, self.matrix, batch)
            for batch in self._batches(actions, windows, pins, rng)
        ]
        return float(np.mean(losses))

    def _batches(
        self, actions: Actions, windows: Windows, pins: Catalogue, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Every window once, in random order."""
        order = rng.permutation(windows.starts.size)
        for at in range(0, order.size, self._training.batch):
            chosen = order[at : at + self._training.batch]
            yield batch_of(actions, windows, chosen, pins, self._embeddings, self._training, rng)
