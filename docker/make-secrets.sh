#!/bin/sh
# Make the secrets that compose.yaml mounts, in the folder that is named. One that exists is
# kept. Containers read them under user ids of their own, so the files can be read by all and
# the folder by its owner alone: on the host nobody else gets as far as the files.
set -eu

[ $# -eq 1 ] || { echo "Usage: $0 FOLDER" >&2; exit 2; }
umask 077
mkdir -p "$1"
chmod 0700 "$1"

hex() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }
make() {
    if [ -s "$1" ]; then echo "kept $1"; return; fi
    "$2" >"$1"
    chmod 0444 "$1"
    echo "made $1"
}

for name in postgres_password broker_password redis_password qdrant_api_key jwt_secret api_secret_key admin_password; do
    make "$1/$name" hex
done
make "$1/fernet_key" fernet
