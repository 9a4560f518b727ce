# aptune on NVIDIA GPUs. The torch wheel brings CUDA's libraries; the driver comes from the host, through the NVIDIA
# container toolkit. There is no nvcc: our optimizer is torch's own fused AdamW, and nothing is compiled at run time.
#   docker build -f docker/cuda.Dockerfile -t aptune:cuda .
# The CI builds no images.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt .
RUN python -m venv /opt/aptune \
 && /opt/aptune/bin/pip install "$(grep '^torch==' constraints.txt)"
COPY . .
RUN /opt/aptune/bin/pip install --constraint constraints.txt ".[cluster]"

FROM python:3.11.14-slim-bookworm
# `ray up` copies files into the container by rsync, and its head logs in to the other nodes by ssh.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --no-install-recommends -y openssh-client rsync \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/aptune /opt/aptune
COPY --chmod=755 docker/with-secrets.sh /usr/local/bin/with-secrets
ENV PATH=/opt/aptune/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --uid 1000 --create-home aptune \
 && install -d -o aptune /srv/aptune /srv/aptune/runs
USER 1000
WORKDIR /srv/aptune
CMD ["aptune", "--help"]
