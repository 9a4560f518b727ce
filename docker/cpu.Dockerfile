# aptune on CPUs: for the demo, for tests, for small encoders. Only torch differs from cuda.Dockerfile.
#   docker build -f docker/cpu.Dockerfile -t aptune:cpu .
#   docker run --rm -v aptune-runs:/srv/aptune/runs aptune:cpu aptune sweep -c demo
# The CI does not build images; what they install is what `make check-wheel` installs.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# A build argument of this name reaches pip: point it at an index of CPU-only torch wheels for a smaller image.
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
COPY constraints.txt .
RUN python -m venv /opt/aptune \
 && /opt/aptune/bin/pip install "$(grep '^torch==' constraints.txt)"
COPY . .
RUN /opt/aptune/bin/pip install --constraint constraints.txt ".[cluster]"

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/aptune /opt/aptune
COPY --chmod=755 docker/with-secrets.sh /usr/local/bin/with-secrets
ENV PATH=/opt/aptune/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
RUN useradd --uid 1000 --create-home aptune \
 && install -d -o aptune /srv/aptune /srv/aptune/runs
USER 1000
WORKDIR /srv/aptune
CMD ["aptune", "--help"]
