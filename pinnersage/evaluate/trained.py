"""Trained: the sequence models of an evaluation, fitted on what was before its test days.

Whoever imports this asks for the extra ``sequence``.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version

from pinnersage.evaluate import lineup
from pinnersage.evaluate.lineup import Entry
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.models import PinnerSage
from pinnersage.evaluate.policies import PAPER, SINGLE
from pinnersage.evaluate.results import Training as Curve
from pinnersage.evaluate.sequence.cluster_embedding import ClusterEmbedding
from pinnersage.evaluate.sequence.sequence_model import SequenceModel
from pinnersage.evaluate.sequence.train import Training
from pinnersage.evaluate.tuning import PAPER_DECAY, Tuned

OF_CLUSTERS = "HierTCN"
"""The one that the paper also takes as the embedding of clusters."""


def sequences(
    names: Sequence[str],
    log: Log,
    tuned: Tuned,
    until_us: int,
    threads: int,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[list[Entry], list[Entry], list[Curve]]:
    """Return the models of one vector, those of several, and how each learned.

    They learn from what was before ``until_us``, and from each test day once it is over.
    """
    training = replace(Training(), seed=seed)
    versions = {name: version(name) for name in ("jax", "optax")}
    about = ", ".join(f"{name} {one}" for name, one in (asdict(training) | versions).items())
    singles, several, curves = list[Entry](), list[Entry](), list[Curve]()
    for name in names:
        progress(f"training {name}")
        model = SequenceModel(name, log, training).fit(until_us)
        singles.append(Entry(name, model, (SINGLE,), single=True, about=about))
        curves.append(
            Curve(
                model=name,
                about=about,
                steps=model.curve.steps,
                losses=model.curve.train,
                held_out=list(model.curve.held_out),
            )
        )
        if name == OF_CLUSTERS:
            ward = PinnerSage(log.matrix, tuned.merge_threshold, PAPER_DECAY, threads=threads)
            both = lineup.unique((PAPER, tuned.policy))
            of_clusters = ClusterEmbedding(ward, model)
            row = f"{lineup.MAIN}, embedding = {name}"
            several.append(Entry(row, of_clusters, both, about=about))
    return singles, several, curves
