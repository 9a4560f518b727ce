#!/bin/sh
# Runs once, to its end, before the tracking server starts: Alembic migrations of both databases, and the bucket.
# Running it again changes nothing; after an update of MLflow it migrates (make a backup first).
set -eu

mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"
python -m mlflow.server.auth db upgrade \
  --url "$(sed -n 's/^database_uri *= *//p' "$MLFLOW_AUTH_CONFIG_PATH")"

case $MLFLOW_ARTIFACTS_DESTINATION in
  s3://*) python - <<'EOF' ;;
import os
from urllib.parse import urlsplit

import boto3

bucket = urlsplit(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).netloc
store = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
if bucket not in [known["Name"] for known in store.list_buckets()["Buckets"]]:
    store.create_bucket(Bucket=bucket)
EOF
esac
