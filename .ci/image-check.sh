#!/usr/bin/env bash
# Builds both images, starts docker-compose.yml unchanged, and sends one image through gateway and worker. Needs root
# and Debian's buildah, podman, runc, catatonit, netavark, aardvark-dns, iptables and mmdebstrap; .ci/deploy-tools.sh
# installs compose. No container engine needs to run and no image is pulled: if PYTHON_IMAGE is not set, a base image is made
# from Debian's Python.
# Everything is stopped at the end; the images resnest-gateway:local and resnest-worker:local stay.
set -euo pipefail
cd "$(dirname "$0")/.."

# What was built, 403 and 1,660 MB, and some room. 38 and 169 MB of it are compiled modules, kept because a read-only root
# could not keep them: without them each start compiles everything. The worker's limit is for the CPU build of torch,
# which TORCH_INDEX or pip's find-links must offer.
declare -A limits_mb=([gateway]=425 [worker]=1750)
port=${PUBLISHED_PORT:-18000}
export STORAGE_DRIVER=overlay PUBLISHED_PORT=$port
work=$(mktemp -d)
pids=()
compose_files=(-f docker-compose.yml)

say() { printf '== %s\n' "$*"; }
fail() { printf 'image-check: %s\n' "$*" >&2; exit 1; }

require_programs() {
    local program missing=()
    # Debian keeps some of them outside of the usual path.
    for program in buildah podman runc catatonit iptables mmdebstrap netavark aardvark-dns; do
        PATH=$PATH:/usr/sbin:/usr/lib/podman:/usr/libexec/podman command -v "$program" >/dev/null || missing+=("$program")
    done
    [ "${#missing[@]}" = 0 ] || fail "install these packages of Debian first: ${missing[*]}"
}

finish() {
    local status=$?
    if [ -S "$work/podman.sock" ]; then
        [ "$status" = 0 ] || compose logs --tail 40 || true
        compose down --timeout 20 --volumes >/dev/null 2>&1 || true
    fi
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

compose() { DOCKER_HOST=unix://$work/podman.sock build/deploy-tools/bin/docker-compose "${compose_files[@]}" "$@"; }

base_image() {
    if [ -n "${PYTHON_IMAGE:-}" ]; then echo "$PYTHON_IMAGE"; return; fi
    local name=localhost/resnest-check-base container
    if ! buildah inspect --type image "$name" >/dev/null 2>&1; then
        mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/doc/*' bookworm "$work/base.tar"
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$work/base.tar" / >/dev/null
        buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
        buildah commit --quiet --rm "$container" "$name" >/dev/null
    fi
    echo "$name"
}

# The build uses this machine's certificates and pip configuration; neither stays in the images.
pip_mounts() {
    local certificates=/etc/ssl/certs/ca-certificates.crt folder
    [ ! -e "$certificates" ] || printf -- '-v\n%s:%s:ro\n' "$certificates" "$certificates"
    { cat /etc/pip.conf 2>/dev/null || echo '[global]'; } >"$work/pip.conf"
    [ -z "${PIP_FIND_LINKS:-}" ] || echo "find-links = $PIP_FIND_LINKS" >>"$work/pip.conf"
    printf -- '-v\n%s:/etc/pip.conf:ro\n' "$work/pip.conf"
    for folder in ${PIP_FIND_LINKS:-}; do
        [ ! -d "$folder" ] || printf -- '-v\n%s:%s:ro\n' "$folder" "$folder"
    done
}

build() {
    local target=$1
    say "Building $target"
    buildah bud --quiet --format docker --isolation chroot --pull-never --layers "${mounts[@]}" --target "$target" \
        --build-arg PYTHON_IMAGE="$base" --build-arg TORCH_INDEX="${TORCH_INDEX:-}" --build-arg TORCH_VARIANT=cpu \
        --build-arg REVISION="$(git rev-parse HEAD)" --tag "localhost/resnest-$target:local" . >/dev/null
    # The name under which compose looks up the image in podman.
    buildah tag "localhost/resnest-$target:local" "docker.io/library/resnest-$target:local"
}

size_mb() { echo $(($(podman image inspect --format '{{.Size}}' "localhost/resnest-$1:local") / 1000000)); }

inside() { podman run --rm --network none --read-only --tmpfs /tmp --entrypoint python3 "localhost/resnest-$1:local" -c "$2"; }

# Exits with 1 if the packages in the container and those in its SBOM differ.
LISTED='
import importlib.metadata as metadata, json, re, sys
listed = {each["name"] for each in json.load(open("/opt/venv/sbom.cdx.json"))["components"]}
names = lambda found: {re.sub(r"[-_.]+", "-", name).lower() for name in found}
there = names(each.metadata["Name"] for each in metadata.distributions(path=[p for p in sys.path if "/opt/venv" in p]))
print("not the same:", there ^ names(listed)) if there ^ names(listed) else None
sys.exit(there != names(listed))'

check_images() {
    local target mb
    for target in gateway worker; do
        mb=$(size_mb "$target")
        say "resnest-$target is $mb MB (at most ${limits_mb[$target]})"
        [ "$mb" -le "${limits_mb[$target]}" ] || fail "resnest-$target is larger than that"
    done
    for target in gateway worker; do
        inside "$target" "$LISTED" || fail "the SBOM of resnest-$target does not list what is installed"
    done
    inside gateway 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is not None)' ||
        fail "the gateway's image contains torch"
    [ "$(inside gateway 'import os; print(os.getuid())')" = 10001 ] || fail "the gateway's user is not 10001"
}

# Checks the kernel's restrictions on a container's process by its /proc/1/status.
check_hardening() {
    local service=$1 status
    status=$(podman exec "resnest-$service-1" cat /proc/1/status)
    grep -qE '^Uid:\s+10001\s' <<<"$status" || fail "$service does not run as 10001"
    grep -qE '^CapEff:\s+0+$' <<<"$status" || fail "$service has capabilities"
    grep -qE '^NoNewPrivs:\s+1$' <<<"$status" || fail "$service may gain privileges"
    ! podman exec "resnest-$service-1" touch /srv/written 2>/dev/null || fail "the root of $service can be written"
}

starters_are_trained() {
    local folder
    for folder in model_store/starter-*; do
        compgen -G "$folder/*.safetensors" >/dev/null || return 1
    done
}

# If a starter model has no weights, use tiny models with random weights: they test only the path of a request.
model_store() {
    if starters_are_trained; then return; fi
    say "Not every starter model has its weights: using random ones"
    .venv/bin/python -c 'import sys, pathlib; from tests.stores import write_store
write_store(pathlib.Path(sys.argv[1]), "tiny-classifier", "tiny-segmenter")' "$work/store"
    chmod -R a+rX "$work"
    cat >"$work/store.yml" <<YAML
services:
  gateway: {volumes: ["$work/store:/srv/model_store:ro"]}
  worker: {volumes: ["$work/store:/srv/model_store:ro"]}
YAML
    compose_files+=(-f "$work/store.yml")
}

# Podman 4.3 takes the size of a tmpfs volume for a quota of the disk, and refuses it.
volume() {
    echo 'volumes: {memory: {driver_opts: {o: "uid=10001,gid=10001,mode=0700"}}}' >"$work/volume.yml"
    compose_files+=(-f "$work/volume.yml")
}

# Podman is the engine behind compose. Without systemd nothing runs health checks, so a loop does.
engine() {
    cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
[network]
network_backend = "netavark"
CONF
    export CONTAINERS_CONF=$work/containers.conf
    podman system service --time=0 "unix://$work/podman.sock" >"$work/podman.log" 2>&1 &
    pids+=($!)
    (while sleep 2; do
        for container in $(podman ps --quiet); do podman healthcheck run "$container" >/dev/null 2>&1 || true; done
    done) &
    pids+=($!)
    for _ in $(seq 50); do [ -S "$work/podman.sock" ] && return; sleep 0.1; done
    fail "podman's service did not start"
}

require_programs
.ci/deploy-tools.sh
base=$(base_image)
readarray -t mounts < <(pip_mounts)
build gateway
build worker
engine
check_images
model_store
volume
say "Starting docker-compose.yml"
compose up --detach --no-build --wait --wait-timeout 240
say "Requesting predictions"
.venv/bin/python .ci/ask.py "http://127.0.0.1:$port"
check_hardening gateway
check_hardening worker
say "Stopping docker-compose.yml"
compose down --timeout 60 --volumes
say "Both images work"
