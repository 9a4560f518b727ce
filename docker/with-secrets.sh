#!/bin/sh
# Runs a command that takes its secrets from the environment where they are kept in files:
#   FROM_FILE_PGPASSWORD=/run/secrets/postgres_password with-secrets COMMAND...
# becomes COMMAND with PGPASSWORD set to what the file holds. Nothing is printed, nothing stands in a command line.
set -eu

for name in $(env | sed -n 's/^FROM_FILE_\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
  path=$(printenv "FROM_FILE_$name")
  if [ ! -r "$path" ] || [ ! -s "$path" ]; then
    echo "with-secrets: $path, which holds $name, is missing, empty or unreadable for user $(id -u)" >&2
    exit 2
  fi
  value=$(cat "$path")
  export "$name=$value"
  unset "FROM_FILE_$name"
done
exec "$@"
