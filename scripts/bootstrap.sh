#!/bin/sh
# Make .venv: the first Python in range that can make environments, uv inside a folder
# of its own, then exactly the locked packages. Does nothing when the lock is unchanged.
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
UV_VERSION=0.13.9
TOOLS="$ROOT/.tools"
VENV="$ROOT/.venv"
LOCK="$ROOT/requirements/dev.txt"
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true

# Shims of version managers exist on PATH and fail when run: a candidate must run.
CHECK='import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c "$CHECK" >/dev/null 2>&1; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "No usable Python: need 3.11, 3.12 or 3.13 with ensurepip." >&2
    echo "On Debian or Ubuntu: apt-get install python3 python3-venv. Or name one: make PYTHON=/path/to/python3.12" >&2
    exit 1
}

WANTED=$(cat "$LOCK" "$ROOT/pyproject.toml" "$0" | sha256sum | cut -d' ' -f1)
if [ -f "$VENV/.stamp" ] && [ "$(cat "$VENV/.stamp")" = "$WANTED" ] && "$VENV/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

PY=$(find_python)
echo "Environment: $("$PY" --version) into .venv"
if ! "$TOOLS/bin/uv" --version 2>/dev/null | grep -q "uv $UV_VERSION "; then
    "$PY" -m venv --clear "$TOOLS"
    "$TOOLS/bin/python" -m pip install -q --disable-pip-version-check "uv==$UV_VERSION"
fi
rm -f "$VENV/.stamp"
"$TOOLS/bin/uv" venv -q --allow-existing --python "$PY" "$VENV"
export VIRTUAL_ENV="$VENV"
"$TOOLS/bin/uv" pip sync -q --compile-bytecode --require-hashes "$LOCK"
# The project itself, editable, without touching what the lock has settled.
"$TOOLS/bin/uv" pip install -q --no-deps --editable "$ROOT"
echo "$WANTED" >"$VENV/.stamp"
