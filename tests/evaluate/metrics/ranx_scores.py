"""ranx's scores, from a process of its own: its compiled loops leave threads that no fork survives.

Nothing is compiled here (``NUMBA_DISABLE_JIT``): the same lines run as Python, in two seconds.
"""

import json
import os
import subprocess
import sys


def scores(candidates, targets, names):
    """For each measure by name, the score of each case: candidates best first, targets equal."""
    order = json.dumps({"candidates": candidates, "targets": targets, "names": names})
    answer = subprocess.run(
        [sys.executable, __file__],
        input=order,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )
    return json.loads(answer.stdout)


def main():
    from ranx import Qrels, Run, evaluate

    order = json.load(sys.stdin)
    cases = [f"case {i:06}" for i in range(len(order["targets"]))]
    wanted = [{f"pin {pin}": 1 for pin in own} for own in order["targets"]]
    given = [
        {f"pin {pin}": float(len(own) - place) for place, pin in enumerate(own)}
        for own in order["candidates"]
    ]
    run = Run(dict(zip(cases, given, strict=True)))
    evaluate(Qrels(dict(zip(cases, wanted, strict=True))), run, order["names"])
    found = {name: [float(run.scores[name][case]) for case in cases] for name in order["names"]}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
