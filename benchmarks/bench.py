"""Bench: every benchmark in a process of its own, one after another; prints one page.

    python benchmarks/bench.py                    about twenty minutes: what make bench runs
    python benchmarks/bench.py --quick            about six minutes
    python benchmarks/bench.py --full             the 10^7 day and 10^6 users too; 45 minutes
    python benchmarks/bench.py kernels --json     one subject, for a machine to read

Each subject is a program beside this one that prints JSON, and is run with one thread a library
(see machine.py). Close other programs first: the page warns if the machine was busy.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import machine
import report

HERE = Path(__file__).parent
FACTS = HERE / "results.json"
SUBJECTS = (
    "kernels", "large", "scaling", "start", "keyvalue", "staging", "days", "indexing", "retrieval",
    "serving", "online", "costs", "recovery",
)  # fmt: skip
SCALES = ("tiny", "quick", "usual", "full")


def main() -> None:
    """Run the subjects asked for and print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    scale = parser.add_mutually_exclusive_group()
    for name, help_ in (
        ("tiny", "shows that it runs; its figures mean nothing"),
        ("quick", "fewer rounds and smaller sizes"),
        ("full", "all sizes, more rounds"),
    ):
        scale.add_argument(f"--{name}", action="store_const", dest="scale", const=name, help=help_)
    parser.add_argument("--json", action="store_true", help="print the facts, not the page")
    parser.add_argument(
        "--save", action="store_true", help=f"keep the facts in {FACTS.name}; then: make docs"
    )
    args = parser.parse_args()
    subjects = args.subjects or SUBJECTS
    if unknown := set(subjects) - set(SUBJECTS):
        parser.error(f"no subject {', '.join(sorted(unknown))}: choose from {', '.join(SUBJECTS)}")
    facts = run(tuple(subjects), args.scale or "usual")
    if args.save:
        kept = json.loads(FACTS.read_text()) if FACTS.is_file() else {}
        scales = kept.get("scale", {}) | facts["scale"]
        FACTS.write_text(json.dumps(kept | facts | {"scale": scales}, indent=1) + "\n")
    print(json.dumps(facts, indent=1) if args.json else report.page(facts))
    if failed := set(subjects) - set(facts):
        sys.exit(f"Failed: {', '.join(sorted(failed))}. The errors are above.")


def run(subjects: tuple[str, ...], scale: str) -> dict[str, Any]:
    """Facts of each subject that did not fail, by its name."""
    facts: dict[str, Any] = {"machine": child("machine"), "scale": dict.fromkeys(subjects, scale)}
    for name in subjects:
        began = time.perf_counter()
        with suppress(subprocess.CalledProcessError):
            facts[name] = child(name, scale)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return facts


def child(name: str, *arguments: str) -> Any:
    """What a program of this folder prints."""
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    environment = machine.environment()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
