#!/bin/sh
# What can be said about docker/ without an engine: the Dockerfile and the scripts are linted,
# compose.yaml fits its schema and, where the compose plugin is there, resolves; the pod template
# fits Kubernetes.
set -eu

cd "$(dirname -- "$0")/.."
BIN=${BIN:-.venv/bin}
"$BIN/hadolint" docker/Dockerfile
"$BIN/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker/compose.yaml
"$BIN/kubernetes-validate" --strict --quiet docker/kubernetes/pod-template.yaml
if command -v shellcheck >/dev/null 2>&1; then
    shellcheck docker/*.sh scripts/*.sh
else
    echo "skipped: shellcheck (apt-get install shellcheck)"
fi
if docker compose version >/dev/null 2>&1; then
    docker compose --env-file docker/.env.example -f docker/compose.yaml --profile cli config --quiet
else
    echo "skipped: docker compose config (the compose plugin is not here)"
fi
