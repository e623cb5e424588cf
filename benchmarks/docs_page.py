"""Docs page: the last saved run, with what it compares and how to make it again."""

import json
from pathlib import Path

from report import page

FACTS = Path(__file__).with_name("results.json")

INTRODUCTION = """\
What the last saved run measured on one machine. To measure yours, close other programs and run:

    make bench                       about twenty minutes, one page
    make bench ARGS=--quick          about six
    make bench ARGS=--full           three quarters of an hour: a day of 10 million actions too
    make bench ARGS="kernels --json"     one subject, for a machine to read
    make bench ARGS="costs --full"       what the paper's Table 2 says, on this machine
    make bench ARGS="recovery --full"    how well clusters find interests that are known

This page is made from `benchmarks/results.json`; `make bench ARGS=--save` and then `make docs`
write both again.

## How it is measured

- **A user's whole way** is timed, from float32 vectors to labels, medoids and importance, on
  both sides.
- **CPU time, one thread**, unless it says wall time or threads. The contestants run one after
  another on the same data, the order turns from round to round, and a ratio is taken inside a
  round; what is shown is the median over the rounds, with the lowest and highest in brackets.
  Every round has data of its own. Nothing is timed the first time it runs.
- **Agreement.** Every comparison first checks on a further batch that a peer finds the same
  clusters, importance and costs of medoids; the page says for how many users it did not.
- **Users** are heavy-tailed, log-normal with a median of 60 actions and at most 3,000, or of 20 to
  200 actions. Their vectors lie around interests, more of them for heavier users, so that
  alpha = 1 gives the numbers of clusters that the paper has for its sanity check; one pin in a
  hundred belongs to none. *crowded* vectors all share a direction, so that any two have a cosine
  of about 0.5, as text embeddings do. *isotropic* ones have no structure.
- **The half-Gram bound** is what the distances alone would take at the rate of the machine's own
  float32 matrix product (`sgemm`), measured in the same rounds: m² d / 2 multiply-adds a user.
  Less than 1 is possible where distances are proved to be above alpha and never computed.

The peers are what a user of each library would write, in `benchmarks/peers.py`, with the same
NumPy code for cut, medoid and importance:

- **fastcluster**: `fastcluster.linkage(vectors, "ward")`, which computes its own distances;
- **fastcluster, BLAS distances**: the same on distances that one float32 matrix product makes, the
  fastest loop that we know how to write;
- **SciPy**: `scipy.cluster.hierarchy.linkage(vectors, "ward")`;
- **scikit-learn**: `AgglomerativeClustering` with `distance_threshold`.

What a request costs is measured after Table 2 of the paper: one stream answered in four ways, each
with one more of its techniques, and all owe the same pins. Decision
[41](decisions/0040-table-2-is-a-ladder.md) says what is compared with what. LSH is in
`benchmarks/lsh.py`, as fast as we could write it.
"""


READING = """\
## Reading it

What falls short, and why:

- **Users of 20 to 200 actions.** A user of 60 pins takes 40 µs: a quarter is the matrix of
  distances, a third the chain of nearest neighbours, 150 steps that wait for each other, the rest
  vectors, medoids and importance. Proofs on bytes pay from 144 pins on.
- **Against BLAS distances.** Ours is compared with a loop whose distances are one float32 matrix
  product and whose merges are fastcluster's C++; on this machine that product is fast.
- **Staging** is bound by two cores: reading and judging raw rows, the MD5 of users and of rows,
  the sort and Parquet take about a fifth to a quarter each. Sorting bucket by bucket was tried,
  and took twice as long.

In the day nothing is done twice but what is meant to be: `validate` reads the actions anew, since
it must not believe `cluster`. Importing Great Expectations takes as long as judging a million
medoids.
"""


def text() -> str:
    """What follows the page's title."""
    results = page(json.loads(FACTS.read_text(encoding="utf-8")))
    return f"{INTRODUCTION}\n## The machine\n\n{results}\n\n{READING}"
