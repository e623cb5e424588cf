"""The sweep's form and its run: bad values are refused, good ones give the library's report."""

import json
from datetime import date

import pytest

from pinnersage import config, init, stage, sweep, synthetic
from pinnersage.config import SourceConfig

pytestmark = pytest.mark.airflow

DAY = date(2020, 3, 30)
THRESHOLDS = [2, 0.5, 1]

FORMS = {
    '{"day": "2020-01-05"}': "",
    '{"day": "2020-01-05", "merge_thresholds": [1], "buckets": [0, 3]}': "",
    "{}": "No value passed",
    '{"day": "5 January"}': "is not a 'date'",
    '{"day": "2020-02-30"}': "is not a 'date'",
    '{"day": 20200105}': "is not of type 'string'",
    '{"day": "2020-01-05", "merge_thresholds": []}': "should be non-empty",
    '{"day": "2020-01-05", "merge_thresholds": [1, -0.5]}': "less than the minimum of 0",
    '{"day": "2020-01-05", "merge_thresholds": ["1"]}': "is not of type 'number'",
    '{"day": "2020-01-05", "merge_thresholds": [1, 1]}': "non-unique",
    '{"day": "2020-01-05", "merge_thresholds": 1}': "is not of type 'array'",
    '{"day": "2020-01-05", "buckets": []}': "should be non-empty",
    '{"day": "2020-01-05", "buckets": [0.5]}': "is not of type 'integer'",
    '{"day": "2020-01-05", "buckets": [-1]}': "less than the minimum of 0",
}


def test_the_form_says_which_value_cannot_be(prepared_airflow):
    answers = prepared_airflow.python(f"""
import copy, json
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
import pinnersage_sweep

def answer(form):
    params = ParamsDict(copy.deepcopy(pinnersage_sweep.PARAMS))
    try:
        params.update(json.loads(form))
        params.validate()
    except ParamValidationError as error:
        return str(error)
    return ""

print(json.dumps([answer(form) for form in {list(FORMS)!r}]))
""")
    for form, found, expected in zip(FORMS, answers, FORMS.values(), strict=True):
        assert (expected in found) if expected else not found, (form, found)


def test_every_value_of_the_form_is_typed_titled_and_described(prepared_airflow):
    values = prepared_airflow.python("""
import json
import pinnersage_sweep
print(json.dumps({name: {**p.schema, "says": p.description}
                  for name, p in pinnersage_sweep.PARAMS.items()}))
""")
    assert set(values) == {"day", "merge_thresholds", "buckets"}
    assert all({"type", "title", "says"} <= value.keys() for value in values.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_writes_the_librarys_report_and_no_day(world):
    raw = world.home / "raw"
    synthetic.write(
        synthetic.World(
            n_users=20, n_pins=400, n_topics=8, dimensions=16, n_days=3,
            first_day=date(2020, 3, 28), seed=1, actions_per_user=900,
        ),
        raw,
    )  # fmt: skip
    pins = init.Items(path=str(raw / "pins.parquet"), embeddings=str(raw / "embeddings.npy"))
    source = SourceConfig(actions=str(raw / "actions"), event="event_id")
    init.run(world.home, source, pins, n_buckets=2)
    settings = config.load(world.home)
    stage.run(DAY, settings)

    form = {"day": DAY.isoformat(), "merge_thresholds": THRESHOLDS}
    world.airflow("dags", "test", "pinnersage_sweep", "--conf", json.dumps(form))

    reports = [sweep.run(DAY, bucket, THRESHOLDS, settings) for bucket in (0, 1)]
    folder = world.home / "reports" / "sweep" / f"day={DAY}"
    written = sweep.SweepSummary.model_validate_json((folder / "report.json").read_bytes())
    assert written == sweep.summarise(reports, settings)
    assert (folder / "index.html").is_file()
    assert not (world.home / "lake" / "medoids").exists()
    assert not (world.home / "releases").exists()
