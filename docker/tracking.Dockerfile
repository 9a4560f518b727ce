# MLflow's server for PostgreSQL and an object store, with accounts: no torch, no Ray, no aptune.
#   docker build -f docker/tracking.Dockerfile -t aptune:tracking .
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY constraints.txt /src/
RUN python -m venv /opt/mlflow \
 && /opt/mlflow/bin/pip install --constraint /src/constraints.txt "mlflow[auth]" psycopg2-binary boto3

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/mlflow /opt/mlflow
COPY --chmod=755 docker/with-secrets.sh /usr/local/bin/with-secrets
COPY --chmod=755 docker/prepare-tracking.sh /usr/local/bin/prepare-tracking
COPY docker/basic_auth.ini /etc/mlflow/basic_auth.ini
ENV PATH=/opt/mlflow/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --uid 1000 --create-home mlflow
USER 1000
WORKDIR /home/mlflow
EXPOSE 5000
ENTRYPOINT ["with-secrets"]
CMD ["mlflow", "--help"]
