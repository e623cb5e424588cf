"""Outcome: the page and the command say what the report says."""

import json
import re
from datetime import date

import pytest
from events import DAY
from shows import event_of, exposure
from typer.testing import CliRunner

from pinnersage.cli import app
from pinnersage.experiment import analyse, exposures, outcome, statistics
from pinnersage.experiment.analyse import ArmReport, ExperimentReport, LiftReport
from pinnersage.experiment.statistics import Sums

ARM = ArmReport(
    name="control", share=0.5, users=1_000, expected_users=1_010.4, exposures=2_000, actions=300,
    squares=900, acting=200, moved=0,
)  # fmt: skip
LIFT = LiftReport(
    arm="all", measure="volume", control=0.3, value=0.33, lift=0.1, low=0.02, high=0.2, p=0.01
)
REPORT = ExperimentReport(
    experiment="one",
    first_day=date(2026, 4, 5),
    last_day=date(2026, 4, 6),
    interest_actions=("repin", "click"),
    arms=(ARM, ARM.model_copy(update={"name": "all"})),
    ratio_p=0.37,
    problems=(),
    lifts=(LIFT, LIFT.model_copy(update={"measure": "propensity", "low": None, "high": None})),
)


def text_of(path):
    return re.sub(r"\s+", " ", path.read_text())


def test_the_page_has_the_numbers_and_loads_nothing(tmp_path):
    page = text_of(outcome.write(REPORT, tmp_path / "one.html"))
    for said in ("1,000", "1,010", "2,000", "50.00%", "+10.0%", "+2.0% to +20.0%", "0.37"):
        assert said in page
    assert "unbounded" in page
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", page)


def test_a_problem_is_on_the_page_in_place_of_lifts(tmp_path):
    report = REPORT.model_copy(update={"problems": ("too <few>",), "lifts": ()})
    page = text_of(outcome.write(report, tmp_path / "one.html"))
    assert "too &lt;few&gt;" in page
    assert "no result" in page
    assert "Over the control" not in page


def test_intervals_are_drawn_around_0_on_one_scale():
    assert outcome.reach_of(REPORT) == 0.2
    assert outcome.drawing(LIFT, 0.2) == {"low": 55.0, "at": 75.0, "high": 100.0}
    assert outcome.drawing(REPORT.lifts[1], 0.2) == {"low": 0.0, "at": 75.0, "high": 100.0}
    assert outcome.reach_of(REPORT.model_copy(update={"lifts": ()})) == outcome.LEAST


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.01, 0.2, "higher"),
        (-0.2, -0.01, "lower"),
        (-0.1, 0.1, "no difference shown"),
        (0.0, 0.1, "no difference shown"),
    ],
)
def test_an_interval_says_something_only_beside_0(low, high, says):
    lift = -0.1 if says == "lower" else 0.1
    assert LIFT.model_copy(update={"lift": lift, "low": low, "high": high}).says == says


def test_where_the_interval_has_no_bounds_the_test_says_it():
    made = statistics.lift(Sums(1_000, 500, 500), Sums(1_000, 3, 3))
    assert (made.low, made.high) == (None, None)
    assert made.p < 1e-6
    unbounded = LIFT.model_copy(update=made._asdict())
    assert unbounded.says == "higher"
    assert unbounded.model_copy(update={"lift": -0.9}).says == "lower"
    assert unbounded.model_copy(update={"p": 0.06}).says == "no difference shown"


@pytest.fixture
def command(home):
    """The command over an experiment of two arms."""
    users = {arm: [f"{arm}-{n}" for n in range(50)] for arm in ("control", "all")}
    settings = home([event_of(user) for own in users.values() for user in own])
    exposures.append([exposure(user, arm) for arm, own in users.items() for user in own], settings)
    text = "\n".join(
        f'{{name = "{arm.name}", share = {arm.share}}},' for arm in settings.experiment.arms
    )
    path = settings.home / "pinnersage.toml"
    said = path.read_text()
    said = re.sub(r'(\[experiment\]\n(?:#.*\n)*)name = ""', r'\1name = "one"', said)
    said = said.replace("arms = []", f"arms = [{text}]".replace("\n", ""), 1)
    path.write_text(said)

    def run(*more):
        done = CliRunner().invoke(
            app, ["experiment", str(DAY), str(DAY), "--home", str(settings.home), *more]
        )
        assert done.exit_code == 0, done.output
        return done.output, settings

    return run


def test_the_command_prints_arms_and_lifts(command):
    printed, _ = command()
    assert re.search(r"control\s+50\.00%\s+50\s+50\s+50\s+50\s+50", printed)
    assert re.search(
        r"all\s+volume\s+1\s+1\s+\+0\.0%\s+\+0\.0% to \+0\.0%\s+no difference", printed
    )


def test_the_command_gives_a_machine_the_report(command):
    printed, settings = command("--json")
    report = ExperimentReport.model_validate_json(printed)
    assert report == analyse.run(DAY, DAY, settings)
    assert json.loads(printed)["arms"][0]["name"] == "control"


def test_the_command_writes_the_page(command, tmp_path):
    command("--html", str(tmp_path / "page.html"))
    assert "Experiment one" in (tmp_path / "page.html").read_text()
