"""The examples are programs that run and say what the docs say they say."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from worlds import DAY

from pinnersage import cluster, stage

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_one_user_finds_both_interests_the_fresher_first(capsys):
    runpy.run_path(str(EXAMPLES / "one_user.py"))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("[6 7 8 9]")
    assert lines[1].endswith("[0 1 2 3 4 5]")


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_spark_leaves_the_lake_that_the_library_leaves(make_home):
    if shutil.which("java") is None:
        pytest.skip("no java: make services installs it")
    pytest.importorskip("pyspark", reason="the extra spark is not installed")
    settings = make_home(n_buckets=16, model={"window_days": 12})  # some buckets have no user
    stage.run(DAY, settings)
    spark_home = settings.home.with_name("spark_home")
    shutil.copytree(settings.home, spark_home)
    reports = [cluster.run(DAY, bucket, settings) for bucket in range(16)]

    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "spark_cluster.py"), "--day", str(DAY)],
        env=os.environ | {
            "PINNERSAGE_HOME": str(spark_home), "PINNERSAGE__MODEL__WINDOW_DAYS": "12",
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said == [report.model_dump(mode="json", exclude={"checks"}) for report in reports]
    assert {report["users"] == 0 for report in said} == {True, False}
    assert bytes_of(spark_home / "lake") == bytes_of(settings.home / "lake")


def bytes_of(lake):
    """Every file of a lake, manifests included."""
    return {p.relative_to(lake): p.read_bytes() for p in lake.rglob("*") if p.is_file()}
