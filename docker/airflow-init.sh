#!/bin/sh
# One shot before Airflow starts: the metadata database at the current schema, the pools that
# dags/ name, and one administrator. Safe to run again: an account that exists stays as it is.
set -eu

airflow db migrate
airflow pools set pinnersage_compute "$PINNERSAGE_COMPUTE_SLOTS" "Tasks that fill a core: a slot a core"
airflow pools set pinnersage_publish 1 "Whatever writes to the stores or moves the live release"
# The password goes in by standard input, where no process list shows it. setsid takes away the
# terminal, which getpass would read instead.
password=$(cat /run/secrets/admin_password)
printf '%s\n%s\n' "$password" "$password" | setsid --wait airflow users create \
    --role Admin --username "$PINNERSAGE_ADMIN" --email "$PINNERSAGE_ADMIN_EMAIL" \
    --firstname PinnerSage --lastname Administrator
