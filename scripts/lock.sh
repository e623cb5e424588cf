#!/bin/sh
# Resolve every requirements file again: versions with hashes, and no host of a registry.
set -eu
cd "$(dirname -- "$0")/.."
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true UV_CUSTOM_COMPILE_COMMAND="make lock"
compile() { .tools/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes "$@"; }
compile --all-extras pyproject.toml -o requirements/dev.txt
compile -c requirements/dev.txt --extra airflow --extra s3 pyproject.toml -o requirements/airflow.txt
compile -c requirements/dev.txt --extra kafka --extra s3 pyproject.toml -o requirements/lib.txt
compile requirements/build.in -o requirements/build.txt
if grep -nE 'https?://' requirements/*.txt; then
    echo "A lock file names a host: it must not." >&2
    exit 1
fi
