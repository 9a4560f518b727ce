#!/bin/sh
# Starts the object store with one account, aptune, whose key is in a secret file.
set -eu

settings=$(mktemp)
printf '{"identities": [{"name": "aptune", "credentials": [{"accessKey": "aptune", "secretKey": "%s"}],
"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}' "$(cat "${STORE_KEY:-/run/secrets/store_key}")" > "$settings"
exec weed server -dir=/data -ip.bind=0.0.0.0 -volume.max=0 -s3 -s3.port=8333 -s3.config="$settings"
