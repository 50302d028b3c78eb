# The pipeline's environment, by the steps of README.md: Python 3.11, make and git; a clone; `make`.
#
#   docker build --tag world-models .                             torch for processors
#   docker build --tag world-models --build-arg DEVICE=cuda .     torch with CUDA
#   docker run --rm -it world-models make repro                   with CUDA: --gpus all
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home worker

USER worker
WORKDIR /home/worker/world-models
COPY --chown=worker:worker . .

# torch's CPU build is several GB smaller; the package index's own has CUDA.
ARG DEVICE=cpu
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN if [ "$DEVICE" = cpu ]; then export PIP_EXTRA_INDEX_URL="$CPU_INDEX"; fi \
    && PIP_NO_CACHE_DIR=1 make setup

# What a GPU's driver is to give to the container; without one it means nothing.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/home/worker/world-models/.venv/bin:$PATH

CMD ["make", "repro"]
