# aptune on NVIDIA GPUs. The "devel" base brings nvcc, with which DeepSpeed builds its fused optimizers.
#   docker build -f docker/cuda.Dockerfile -t aptune:cuda .
# CUDA_IMAGE has to carry the CUDA version that the torch wheel was built for:
#   python -c 'import torch; print(torch.version.cuda)'
# The CI does not build images.
ARG CUDA_IMAGE=nvidia/cuda:13.0.1-devel-ubuntu24.04

FROM python:3.11-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build
COPY . .
RUN python -m build --wheel --outdir /dist .

FROM ${CUDA_IMAGE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --no-install-recommends -y \
      build-essential openssh-client python3 python3-dev python3-venv rsync \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/aptune
ENV PATH=/opt/aptune/bin:$PATH
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir "$(grep '^torch==' /tmp/constraints.txt)"
COPY --from=build /dist /tmp/dist
RUN wheel=$(ls /tmp/dist/*.whl) \
 && pip install --no-cache-dir --constraint /tmp/constraints.txt "${wheel}[cluster]" \
 && rm -r /tmp/dist
# `ray up` runs as root inside the container; add a user of your own for anything else.
WORKDIR /srv/aptune
CMD ["bash"]
