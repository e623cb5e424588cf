#!/bin/sh
# Run a command with the passwords that it expects in its environment. They arrive as files in
# /run/secrets, so that neither the image nor `docker inspect` shows them.
set -eu

SECRETS=${PINNERSAGE_SECRETS_DIR:-/run/secrets}
if [ -r "$SECRETS/redis_password" ]; then
    REDIS_URL="redis://:$(cat "$SECRETS/redis_password")@${PINNERSAGE_REDIS_HOST:-redis}:6379/0"
    export REDIS_URL
fi
if [ -r "$SECRETS/qdrant_api_key" ]; then
    QDRANT_API_KEY=$(cat "$SECRETS/qdrant_api_key")
    export QDRANT_API_KEY
fi
exec "$@"
