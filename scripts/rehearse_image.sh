#!/bin/sh
# Rehearse docker/Dockerfile where no engine runs: the same steps in a folder that is thrown away.
# Build the wheel with the locked backend, make an empty environment, install the lock by its
# hashes and the wheel beside it, and run the command. Needs the package index, and about a minute.
#
#   scripts/rehearse_image.sh [library|airflow]
set -eu

TARGET=${1:-library}
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
case $TARGET in
library) LOCK="$ROOT/requirements/lib.txt" ;;
airflow) LOCK="$ROOT/requirements/airflow.txt" ;;
*) echo "Usage: $0 [library|airflow]" >&2; exit 2 ;;
esac
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PYTHON=${PYTHON:-"$ROOT/.venv/bin/python"}
UV="$WORK/build/bin/uv"

echo "1. wheel"
# A copy of what the Dockerfile copies: the build must not lean on anything else in the checkout.
mkdir "$WORK/src"
for part in pyproject.toml README.md LICENSE sql pinnersage; do
    cp -R "$ROOT/$part" "$WORK/src/"
done
"$PYTHON" -m venv "$WORK/build"
"$WORK/build/bin/pip" install -q --disable-pip-version-check --require-hashes \
    -r "$ROOT/requirements/build.txt"
"$WORK/build/bin/pip" wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir "$WORK/wheels" "$WORK/src"
"$PYTHON" - "$WORK"/wheels/*.whl "$WORK/src" <<'PYTHON'
import pathlib, sys, zipfile

wheel, source = sys.argv[1], pathlib.Path(sys.argv[2])


def files(folder):
    found = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)) for p in found}


held = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
held = {name for name in held if ".dist-info/" not in name}
sql = {f"pinnersage/sql/{name}" for name in files(source / "sql")}
wanted = sql | {f"pinnersage/{name}" for name in files(source / "pinnersage")}
assert sql, "sql/ is empty"
assert not wanted - held, f"not in the wheel: {sorted(wanted - held)}"
assert not held - wanted, f"in the wheel by mistake: {sorted(held - wanted)}"
print(f"   {pathlib.Path(wheel).name}: {len(held)} files, {len(sql)} of them SQL")
PYTHON

echo "2. environment of $TARGET"
"$UV" venv -q --python "$PYTHON" "$WORK/env"
"$UV" pip install -q --python "$WORK/env/bin/python" --require-hashes -r "$LOCK"
"$UV" pip install -q --python "$WORK/env/bin/python" --no-deps "$WORK"/wheels/*.whl
"$UV" pip check -q --python "$WORK/env/bin/python"

echo "3. commands"
cd "$WORK"
export PINNERSAGE_HOME="$WORK/home"
env/bin/python -c 'from pinnersage import queries; assert queries.folder().is_dir()'
env/bin/pinnersage --help >/dev/null
if [ "$TARGET" = airflow ]; then
    export AIRFLOW_HOME="$WORK/airflow" PYTHONDONTWRITEBYTECODE=1
    env/bin/airflow version
    for file in "$ROOT"/dags/*.py "$ROOT"/plugins/*.py; do env/bin/python "$file"; done
elif env/bin/python -c 'import airflow' 2>/dev/null; then
    echo "The library image would hold Airflow." >&2
    exit 1
fi
echo "rehearsed: $TARGET, $(env/bin/python --version)"
