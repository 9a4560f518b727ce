# aptune on CPUs: for the demo, for tests, for small encoders.
#   docker build -f docker/cpu.Dockerfile -t aptune:cpu .
#   docker run --rm -v "$PWD/runs:/srv/aptune/runs" aptune:cpu sweep -c demo
# The CI does not build images; what they install is what `make check-wheel` installs.
FROM python:3.11-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build
COPY . .
RUN python -m build --wheel --outdir /dist .

FROM python:3.11-slim
# A build argument of this name reaches pip: point it at an index of CPU-only torch wheels for a smaller image.
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir "$(grep '^torch==' /tmp/constraints.txt)"
COPY --from=build /dist /tmp/dist
RUN wheel=$(ls /tmp/dist/*.whl) \
 && pip install --no-cache-dir --constraint /tmp/constraints.txt "${wheel}[cluster]" \
 && rm -r /tmp/dist
RUN useradd --create-home aptune && mkdir -p /srv/aptune/runs /store && chown -R aptune /srv/aptune /store
USER aptune
WORKDIR /srv/aptune
ENTRYPOINT ["aptune"]
CMD ["--help"]
