"""PinnerSage with a sequence model as the embedding of each cluster (tables 4 and 5).

A cluster's actions, oldest first, are given to the sequence model as if they were a user's; its
vector takes the medoid's place. Clusters and importance stay PinnerSage's.
"""

from dataclasses import dataclass

import numpy as np

from pinnersage.evaluate.histories import Histories, Represented
from pinnersage.evaluate.models import PinnerSage, by_cluster
from pinnersage.evaluate.sequence.sequence_model import SequenceModel


@dataclass(frozen=True)
class ClusterEmbedding:
    """A vector a cluster, made by a trained sequence model.

    The sequence model learns with this one: days are measured with a copy (``copy.deepcopy``) of
    what was fitted for each model that uses it.
    """

    pinnersage: PinnerSage
    sequence: SequenceModel

    @property
    def name(self) -> str:
        """The row's name."""
        return f"{self.pinnersage.name} (embedding = {self.sequence.name})"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a cluster."""
        clusters = self.pinnersage.clusters(histories)
        order, offsets = by_cluster(histories, clusters)
        counts = np.diff(clusters.offsets)
        as_users = Histories(
            offsets=offsets,
            rows=histories.rows[order],
            ages_days=histories.ages_days[order],
            users=np.repeat(histories.users, counts),
            now_us=np.repeat(histories.now_us, counts),
        )
        found = self.sequence.represent(as_users)
        return found._replace(offsets=clusters.offsets, weights=clusters.importance)

    def learn(self, until_us: int) -> None:
        """Let the sequence model learn."""
        self.sequence.learn(until_us)
