# One file, two images: `gateway` (FastAPI, no torch) and `worker` (TorchServe, torch, and Java as a wheel).
#
#     docker build --target gateway --tag resnest-gateway:local .
#     docker build --target worker --tag resnest-worker:local --build-arg TORCH_INDEX=<PyTorch's index for cpu> .
#
# What is installed has the hashes of deploy/locks, which `make lock` writes. /opt/venv/sbom.cdx.json lists it. To build on a base
# that nobody can change, name PYTHON_IMAGE with its digest: python:3.11-slim-bookworm@sha256:...
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

# The wheel of the service, and the tools that build it and list what is installed. No image contains this stage.
FROM base AS build
RUN python3 -m venv /opt/build
COPY deploy/locks/build.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip \
    /opt/build/bin/pip install --require-hashes --requirement /locks/build.txt
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY service service
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /wheels .

FROM base AS gateway-venv
RUN python3 -m venv /opt/venv
COPY deploy/locks /locks
RUN --mount=type=cache,target=/tmp/.cache/pip \
    pip install --require-hashes --requirement /locks/gateway.txt
COPY --from=build /opt/build /opt/build
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && pip uninstall --yes pip setuptools \
    && /opt/build/bin/cyclonedx-py environment --output-reproducible --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python

FROM base AS worker-venv
# The index of another build of the pinned torch: the default is for CUDA, which needs 4 GB more. Its last part names the lock:
# `cpu` is worker-cpu.txt. TORCH_VARIANT names it where pip finds the build without an index.
ARG TORCH_INDEX=
ARG TORCH_VARIANT=
RUN python3 -m venv /opt/venv
COPY deploy/locks /locks
RUN --mount=type=cache,target=/tmp/.cache/pip \
    index="${TORCH_INDEX%"${TORCH_INDEX##*[!/]}"}" \
    && variant="${TORCH_VARIANT:-${index##*/}}" \
    && if [ -n "$TORCH_INDEX" ] && [ -z "$variant" ]; then echo "TORCH_INDEX=$TORCH_INDEX names no build" >&2; exit 1; fi \
    && pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --require-hashes --requirement "/locks/worker${variant:+-$variant}.txt"
COPY --from=build /opt/build /opt/build
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && pip uninstall --yes pip \
    && /opt/build/bin/cyclonedx-py environment --output-reproducible --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python

# A gateway reads cards and labels, never weights.
FROM base AS cards
COPY model_store /srv/model_store
RUN find /srv/model_store -name '*.safetensors' -delete

FROM base AS gateway
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="resnest-gateway" \
      org.opencontainers.image.description="The HTTP gateway of resnest-service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
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
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="resnest-worker" \
      org.opencontainers.image.description="TorchServe with the batching handlers of resnest-service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=worker-venv /opt/venv /opt/venv
COPY model_store /srv/model_store
USER 10001:10001
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-m", "service.host.health", "--all-for", "60"]
ENTRYPOINT ["tini", "--", "resnest-service"]
CMD ["worker", "--inference-address", "http://0.0.0.0:8080", "--management-address", "http://0.0.0.0:8081", "--metrics-address", "http://0.0.0.0:8082"]
