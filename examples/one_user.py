"""One user, no pipeline: the model as a library, from vectors and ages to medoids.

A user who pinned boots last week and kitchens in spring. Two interests come out, the fresher one
first, each with the pin that stands for it.

    python examples/one_user.py
"""

import numpy as np

import pinnersage

rng = np.random.default_rng(7)
boots, kitchens = np.eye(2, 64)
directions = np.repeat([kitchens, boots], [6, 4], axis=0)
vectors = directions + 0.05 * rng.standard_normal((10, 64))
embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
ages_days = np.array([80, 79, 75, 74, 70, 66, 6, 5, 3, 1], dtype=float)  # oldest action first

found = pinnersage.cluster_actions(embeddings, ages_days, merge_threshold=1.0, decay_per_day=0.01)

for number, (medoid, importance) in enumerate(zip(found.medoids, found.importance, strict=True)):
    members = np.flatnonzero(found.labels == number)
    print(f"interest {number}: medoid is action {medoid}, importance {importance:.2f}, {members}")
