"""The examples are programs that run and say what the docs say they say."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_one_user_finds_both_interests_the_fresher_first(capsys):
    runpy.run_path(str(EXAMPLES / "one_user.py"))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("[6 7 8 9]")
    assert lines[1].endswith("[0 1 2 3 4 5]")
