#!/bin/sh
# Everything that CI checks beside the tests. Each line says what it looks at; the first to fail ends it.
set -eu
cd "$(dirname -- "$0")/.."
bin=.venv/bin
look() { echo "== $1"; shift; "$@"; }
look "lint" $bin/ruff check -q .
look "format" $bin/ruff format -q --check .
look "types" $bin/mypy
look "import contracts" $bin/lint-imports --no-logo
look "SQL" $bin/sqlfluff lint -q --disable-progress-bar sql
look "spelling" $bin/codespell
look "generated pages" $bin/python scripts/generate_docs.py --check
look "docker" sh scripts/check_docker.sh
echo "All checks passed."
