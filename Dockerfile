# One file, two images: `gateway` (FastAPI, no torch) and `worker` (TorchServe, torch, and Java as a wheel).
#
#     docker build --target gateway --tag resnest-gateway:local .
#     docker build --target worker --tag resnest-worker:local --build-arg TORCH_INDEX=<PyTorch's index for cpu> .
#
# Only the starter models are in the images. Mount other models, and set RESNEST_MODEL_STORE to the volume.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS base
# tini is PID 1: it forwards SIGTERM, and reaps worker processes that TorchServe leaves behind. Debian sets its version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin resnest
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    RESNEST_MODEL_STORE=/srv/model_store
WORKDIR /tmp

FROM base AS source
RUN python3 -m venv /opt/venv
WORKDIR /src
COPY LICENSE README.md constraints.txt pyproject.toml ./
# Enough of the package to install its dependencies, so that changes of the code do not invalidate that layer.
COPY service/__init__.py service/

FROM source AS gateway-venv
RUN --mount=type=cache,target=/tmp/.cache/pip \
    pip install --constraint constraints.txt ".[jwt,otel,redis]"
COPY service service
RUN pip install --no-cache-dir --no-deps --force-reinstall . \
    && pip uninstall --yes pip setuptools

FROM source AS worker-venv
# The index of CPU or CUDA wheels for the pinned torch. The default build is CUDA, which needs 4 GB more.
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/tmp/.cache/pip \
    pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[otel,worker]"
COPY service service
RUN pip install --no-cache-dir --no-deps --force-reinstall . \
    && pip uninstall --yes pip

# A gateway reads cards and labels, never weights.
FROM base AS cards
COPY model_store /srv/model_store
RUN find /srv/model_store -name '*.safetensors' -delete

FROM base AS gateway
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="resnest-gateway" \
      org.opencontainers.image.description="The HTTP gateway of resnest-service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=gateway-venv /opt/venv /opt/venv
COPY --from=cards /srv/model_store /srv/model_store
# Without a fixed threshold, glibc keeps the memory of decoded images. Measured after four simultaneous requests with
# images of 50 million pixels: the process stayed at 1.1 to 2.1 GB, and with the threshold at 0.12 GB.
ENV RESNEST_HOST=0.0.0.0 \
    RESNEST_PORT=8000 \
    MALLOC_MMAP_THRESHOLD_=1048576
USER 10001:10001
EXPOSE 8000 9000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "service.host.health", "--require", "any"]
ENTRYPOINT ["tini", "--", "resnest-service"]
CMD ["gateway"]

FROM base AS worker
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="resnest-worker" \
      org.opencontainers.image.description="TorchServe with the batching handlers of resnest-service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=worker-venv /opt/venv /opt/venv
COPY model_store /srv/model_store
USER 10001:10001
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-m", "service.host.health"]
ENTRYPOINT ["tini", "--", "resnest-service"]
CMD ["worker", "--inference-address", "http://0.0.0.0:8080", "--management-address", "http://0.0.0.0:8081", "--metrics-address", "http://0.0.0.0:8082"]
