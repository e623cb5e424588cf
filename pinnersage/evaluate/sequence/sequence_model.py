"""Sequence model: a trained network as a model of users, one vector each.

``represent`` knows a user by her actions alone, so a cluster's actions may stand for a user: that
is how HierTCN becomes the embedding of each cluster (paper, tables 4 and 5).
"""

from datetime import UTC, datetime
from functools import partial
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.cases import DAY_US
from pinnersage.evaluate.histories import Histories, Integers, Represented
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.sequence.hiertcn import HIERTCN
from pinnersage.evaluate.sequence.negatives import catalogue_of
from pinnersage.evaluate.sequence.recurrent import GRU, LSTM, Network, Parameters
from pinnersage.evaluate.sequence.train import Curve, Trainer, Training, unit
from pinnersage.evaluate.sequence.windows import (
    Actions,
    Padded,
    Windows,
    before,
    padded,
    windows_of,
)

NETWORKS = {"GRU": GRU, "LSTM": LSTM, "HierTCN": HIERTCN}

LINES = 256
"""Users whose vectors are computed at a time."""
WIDTHS = (8, 32)
"""Users of few actions are put into narrower rectangles than the window's."""


@partial(jax.jit, static_argnames="network")
def last_vectors(
    network: Network, parameters: Parameters, matrix: jax.Array, actions: Padded, last: Integers
) -> jax.Array:
    """float32[b, d]: unit vectors of users after the action of each that is their last."""
    pins, sittings = matrix[actions.rows], jnp.asarray(actions.sittings)
    outputs = network.vectors(parameters, pins, sittings)
    return unit(outputs[jnp.arange(last.size), last])


class SequenceModel:
    """GRU, LSTM or HierTCN over a user's newest actions.

    Parameters
    ----------
    name : str
        GRU, LSTM or HierTCN.
    log : Log
        Of it only what happened before a moment is ever looked at: that of ``fit`` or ``learn``.
    training : Training

    Raises
    ------
    ConfigError
        For an unknown name.
    """

    def __init__(self, name: str, log: Log, training: Training) -> None:
        if name not in NETWORKS:
            raise ConfigError(f"No sequence model is called {name!r}: {', '.join(NETWORKS)}.")
        self.name = name
        self.curve = Curve([], [], [])
        self._log = log
        self._training = training
        self._trainer: Trainer
        self._until_us: int | None = None
        self._held_out = np.zeros(log.offsets.size - 1, np.bool_)

    def fit(self, until_us: int) -> Self:
        """Train anew on what happened before a moment; the curve says how it went.

        Raises
        ------
        DataError
            When fewer than two users had a second sitting before that moment.
        ConfigError
            When the loss is not finite.
        """
        self._held_out = self._some_users(until_us)
        self._trainer = Trainer(NETWORKS[self.name], self._log.matrix, self._training)
        ours, others = self._actions(until_us)
        pins = catalogue_of(np.concatenate([ours.rows, others.rows]))
        trained_on = ours, self._windows(ours, None), pins
        beside = others, self._windows(others, None), pins
        n_steps = self._trainer.n_steps(trained_on[1])
        curve = Curve([0], [self._trainer.loss(*trained_on)], [self._trainer.loss(*beside)])
        best = self._trainer.state
        for number in range(1, self._training.epochs + 1):
            curve.steps.append(number * n_steps)
            curve.train.append(self._trainer.one_pass(*trained_on))
            curve.held_out.append(self._trainer.loss(*beside))
            if not np.isfinite([curve.train[-1], curve.held_out[-1]]).all():
                raise ConfigError(
                    f"{self.name}: the loss is not finite after pass {number} at learning rate "
                    f"{self._training.learning_rate}. Choose a smaller one."
                )
            if curve.held_out[-1] == min(curve.held_out):
                best = self._trainer.state
        self._trainer.state = best
        self.curve, self._until_us = curve, until_us
        return self

    def learn(self, until_us: int) -> None:
        """Pass once over transitions to sittings that began since the last time.

        Raises
        ------
        ConfigError
            Before ``fit``, or for a moment before the last one.
        """
        since_us = self._fitted()
        if until_us < since_us:
            raise ConfigError(
                f"{self.name} knows what happened before {since_us} us; it cannot go back to "
                f"{until_us}. Call learn in order of days."
            )
        ours, others = self._actions(until_us)
        windows = self._windows(ours, since_us)
        if windows.starts.size:
            pins = catalogue_of(np.concatenate([ours.rows, others.rows]))
            self._trainer.one_pass(ours, windows, pins)
        self._until_us = until_us

    def represent(self, histories: Histories) -> Represented:
        """Return one vector for each user who has actions; it depends on those alone.

        Raises
        ------
        ConfigError
            Before ``fit``.
        """
        self._fitted()
        ages_us = np.round(histories.ages_days * DAY_US).astype(np.int64)
        counts = np.diff(histories.offsets)
        actions = Actions(
            histories.offsets, histories.rows, np.repeat(histories.now_us, counts) - ages_us
        )
        there = np.flatnonzero(counts)
        stops = histories.offsets[there + 1]
        starts = np.maximum(histories.offsets[there], stops - self._training.window)
        vectors = np.empty((there.size, self._log.matrix.shape[1]), np.float32)
        for width, lines in self._by_width(stops - starts):
            for at in range(0, lines.size, LINES):
                some = lines[at : at + LINES]
                shape = LINES, width
                pad = padded(actions, starts[some], stops[some], shape, self._training.gap_us)
                last = np.zeros(LINES, np.intp)
                last[: some.size] = stops[some] - starts[some] - 1
                found = last_vectors(
                    NETWORKS[self.name],
                    self._trainer.state.parameters,
                    self._trainer.matrix,
                    pad,
                    last,
                )
                vectors[some] = np.asarray(found)[: some.size]
        return Represented(
            offsets=np.concatenate([[0], np.cumsum(counts > 0)]),
            vectors=vectors,
            weights=np.ones(there.size),
            rows=np.full(there.size, -1, np.intp),
        )

    def _by_width(self, lengths: Integers) -> list[tuple[int, Integers]]:
        """Lines by the narrowest rectangle that holds them."""
        widths = [*(w for w in WIDTHS if w < self._training.window), self._training.window]
        number = np.searchsorted(widths, lengths)
        return [(width, np.flatnonzero(number == i)) for i, width in enumerate(widths)]

    def _fitted(self) -> int:
        if self._until_us is None:
            raise ConfigError(f"{self.name} is not trained yet: call fit first.")
        return self._until_us

    def _windows(self, actions: Actions, since_us: int | None) -> Windows:
        training = self._training
        return windows_of(
            actions, gap_us=training.gap_us, length=training.window, since_us=since_us
        )

    def _actions(self, until_us: int) -> tuple[Actions, Actions]:
        """Actions of those trained on, and of those held out."""
        return (
            before(self._log, until_us, ~self._held_out),
            before(self._log, until_us, self._held_out),
        )

    def _some_users(self, until_us: int) -> npt.NDArray[np.bool_]:
        """Draw who is held out, among users who came back; at least one, and not all."""
        everyone = before(self._log, until_us, np.ones_like(self._held_out))
        windows = self._windows(everyone, None)
        back = np.unique(np.searchsorted(everyone.offsets, windows.starts, side="right") - 1)
        if back.size < 2:  # noqa: PLR2004
            raise DataError(
                f"{back.size} users of {self._held_out.size} had a second sitting before "
                f"{datetime.fromtimestamp(until_us / 1e6, UTC):%Y-%m-%d}; {self.name} needs at "
                "least 2, one to train on and one to judge by. Take a later day or more history, "
                "or leave sequence models out."
            )
        n = min(max(round(self._training.held_out * back.size), 1), back.size - 1)
        rng = np.random.default_rng(self._training.seed)
        users = np.zeros_like(self._held_out)
        users[rng.choice(back, n, replace=False)] = True
        return users
