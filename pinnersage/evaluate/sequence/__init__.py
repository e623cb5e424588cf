"""Sequence models of users: GRU, LSTM and HierTCN, in JAX on a CPU (paper, section 5.3).

    windows    a log to stretches of actions, cut into sittings, and what came next
    negatives  pins that an action is ranked above
    losses     how far it is from being so
    recurrent  GRU and LSTM
    hiertcn    a GRU over sittings, convolutions within one
    train      batches, steps of Adam, the curve
    sequence_model     all that as a model of users, one vector each
    cluster_embedding  and of PinnerSage's clusters

Needs the extra `sequence`; nothing else imports this package before it is asked for.
"""

from pinnersage.errors import ConfigError

try:
    import jax
    import optax
except ModuleNotFoundError as missing:
    raise ConfigError(
        f"Sequence models need the extra `sequence` ({missing.name} is not installed): "
        f"pip install 'pinnersage[sequence]'."
    ) from missing

__all__ = ["jax", "optax"]
