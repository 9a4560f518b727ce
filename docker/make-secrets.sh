#!/bin/sh
# Makes the secrets of compose.yaml that are not there yet, in secrets/ beside docker/. Nobody else may enter that
# folder; the files themselves are readable, since the containers' users are not yours.
set -eu

folder=${1:-$(dirname "$0")/../secrets}
umask 022
mkdir -p "$folder"
chmod 700 "$folder"
for name in ray_token redis_password postgres_password mlflow_password mlflow_session_key store_key; do
  if [ ! -s "$folder/$name" ]; then
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$folder/$name"
  fi
done
