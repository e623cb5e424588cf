"""Observe: what a lineage catalogue and a metrics server hear of a task.

Not a DAG file itself (.airflowignore). Both are off until Airflow's own configuration names where
to send: ``[openlineage] transport``, ``[metrics] statsd_on`` or ``otel_on``. Neither can fail a
task.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

if TYPE_CHECKING:
    from pinnersage.config import Settings
    from pinnersage.lineage import Dataset

GAUGES = {
    "live.late": "late",
    "live.age_hours": "age_hours",
    "live.index_age_hours": "index_age_hours",
    "live.users": "users",
    "live.clusters_per_user": "clusters_per_user",
    "live.recall": "recall",
}
"""Gauges, under ``pinnersage.``, and the fact of ``pinnersage freshness`` that each one is."""


def gauges(fresh: dict[str, Any]) -> None:
    """Send the live release's gauges; one without a value (no index yet) is not sent."""
    from airflow.sdk.observability import stats

    for name, fact in GAUGES.items():
        if fresh[fact] is not None:
            stats.gauge(f"pinnersage.{name}", float(fresh[fact]))


def lineage(run: Callable[..., Any], settings: "Settings", *args: Any) -> None:
    """Let OpenLineage's event for the running task name the tables that the step touched.

    The event asks an operator's ``get_openlineage_facets_on_complete``, in a process of its own
    and with a time limit. Without a transport nothing is looked up.
    """
    from airflow.providers.openlineage import conf

    if conf.is_disabled():
        return
    from pinnersage.lineage import STEPS

    names = (getattr(run, "__name__", ""), getattr(run, "__module__", "").rpartition(".")[2])
    step = next((name for name in names if name in STEPS), None)
    if step:
        part = args[:2] if step == "cluster" else args[:1]
        task = get_current_context()["task"]
        task.get_openlineage_facets_on_complete = partial(facets, step, settings, *part)


def facets(step: str, settings: "Settings", *part: Any) -> Any:
    """Return inputs and outputs as OpenLineage has them; ``part`` ends with the task instance."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    from pinnersage.lineage import of

    told = of(step, settings, *part[:-1])
    return OperatorLineage(
        inputs=[as_input(dataset) for dataset in told.reads],
        outputs=[as_output(dataset) for dataset in told.writes],
    )


def as_input(dataset: "Dataset") -> Any:
    """Return a dataset that was read, and which part of it."""
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import base_subset_dataset

    subset = condition(dataset)
    told = {"subset": base_subset_dataset.InputSubsetInputDatasetFacet(subset)} if subset else {}
    return InputDataset(
        namespace=dataset.namespace, name=dataset.name, facets=version(dataset), inputFacets=told
    )


def as_output(dataset: "Dataset") -> Any:
    """Return a dataset that was written, and which part of it."""
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import base_subset_dataset

    subset = condition(dataset)
    told = {"subset": base_subset_dataset.OutputSubsetOutputDatasetFacet(subset)} if subset else {}
    return OutputDataset(
        namespace=dataset.namespace, name=dataset.name, facets=version(dataset), outputFacets=told
    )


def condition(dataset: "Dataset") -> Any:
    """Return which partitions or files of a dataset were touched."""
    from openlineage.client.facet_v2 import base_subset_dataset as subset

    if dataset.partitions:
        parts = [
            subset.Partition(dimensions=part.keys, identifier=part.version or None)
            for part in dataset.partitions
        ]
        return subset.PartitionSubsetCondition(parts)
    return subset.LocationSubsetCondition(list(dataset.files)) if dataset.files else None


def version(dataset: "Dataset") -> dict[str, Any]:
    """Return the version facet of a dataset of which one partition was touched."""
    from openlineage.client.facet_v2 import dataset_version_dataset

    if len(dataset.partitions) != 1 or not dataset.partitions[0].version:
        return {}
    name = dataset.partitions[0].version
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(name)}
