# syntax=docker/dockerfile:1.7
# The image of the server. deploy/README.md describes how to build and run it.
#
#   docker build -t mt3-service .                                   CPU
#   docker build -t mt3-service:cuda --build-arg ACCELERATOR=cuda . NVIDIA GPU
#   docker build -t mt3-service:mt3 --build-arg BAKE_CHECKPOINT=mt3 .  parameters inside
#
# Python's exact version is pinned, but not its digest, which could not be looked up. For a
# reproducible build, append @sha256:... to both FROM lines that name it.

FROM python:3.11.14-slim-bookworm AS build
# cpu, cuda or tpu: selects the lock file.
ARG ACCELERATOR=cpu
WORKDIR /source
RUN python -m venv /opt/mt3
ENV PATH=/opt/mt3/bin:$PATH
COPY requirements.lock requirements-cuda.lock requirements-tpu.lock ./
# Wheels only, verified by hash: nothing is compiled, and no other package can be installed.
RUN case "$ACCELERATOR" in \
      cpu) lock=requirements.lock ;; \
      cuda|tpu) lock="requirements-$ACCELERATOR.lock" ;; \
      *) echo "ACCELERATOR is '$ACCELERATOR'; expected cpu, cuda or tpu" >&2; exit 2 ;; \
    esac; \
    pip install --no-cache-dir --require-hashes --only-binary :all: -r "$lock"
COPY LICENSE NOTICE README.md pyproject.toml ./
COPY checkpoints/manifest.toml checkpoints/manifest.toml
COPY mt3_model mt3_model
COPY service service
# hatchling is in the lock, so building our own package downloads nothing either. The program looks
# for `checkpoints/` beside its packages; the link leads to the mounted or baked-in /checkpoints.
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && python -m compileall -q /opt/mt3/lib/python3.11/site-packages/mt3_model \
       /opt/mt3/lib/python3.11/site-packages/service \
    && ln -s /checkpoints /opt/mt3/lib/python3.11/site-packages/checkpoints

FROM build AS checkpoint
# A model to download, verify and convert to one file; empty: none.
ARG BAKE_CHECKPOINT=""
COPY deploy/bake_checkpoint.py .
RUN mkdir /checkpoints \
    && if [ -n "$BAKE_CHECKPOINT" ]; then \
         JAX_PLATFORMS=cpu python bake_checkpoint.py "$BAKE_CHECKPOINT" /checkpoints; \
       fi

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="mt3-service" \
      org.opencontainers.image.description="Multi-instrument music transcription over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
# Writable folders besides /tmp. /cache holds downloads, compiled programs and libraries' caches, and
# may be lost. /data holds jobs, their recordings and results, and must be kept.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /cache mt3 \
    && install --directory --owner=mt3 --group=mt3 /cache /data
COPY --from=build /opt/mt3 /opt/mt3
COPY --from=checkpoint /checkpoints /checkpoints
ENV PATH=/opt/mt3/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    NUMBA_CACHE_DIR=/cache/numba \
    MT3_DATA_DIR=/data
WORKDIR /cache
VOLUME ["/cache", "/data"]
USER 10001:10001
# 8001: the port for probes of a worker (`mt3 worker`).
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
# Tests liveness rather than readiness: a server that is loading or draining must not be killed.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=4 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Listens on all addresses of the container, so it starts only with MT3_API_KEYS_FILE or
# MT3_API_KEYS, or with MT3_ALLOW_ANONYMOUS=true (deploy/README.md).
CMD ["mt3", "serve", "--host", "0.0.0.0", "--port", "8000"]
