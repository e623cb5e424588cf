#!/bin/sh
# Install what `make test-services` needs: redis-server, PostgreSQL, Chromium with its driver, and Java.
set -eu
have() { command -v "$1" >/dev/null 2>&1; }
postgres() { have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
wanted=""
have redis-server || wanted="$wanted redis-server"
postgres || wanted="$wanted postgresql"
have chromium || wanted="$wanted chromium"
have java || wanted="$wanted default-jre-headless"
have chromedriver || wanted="$wanted chromium-driver"
[ -z "$wanted" ] && { echo "Services: all there."; exit 0; }
have apt-get || { echo "No apt-get here. Install by hand:$wanted" >&2; exit 1; }
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
echo "Installing:$wanted"
$as_root apt-get update -qq
# The servers are started by the tests, on ports of their own; nothing is started here.
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $as_root apt-get install -y -qq --no-install-recommends $wanted >/dev/null
