#!/usr/bin/env bash
# Builds a Kubernetes control plane into build/control-plane (or $1) for tests/cluster: kube-apiserver,
# kube-controller-manager, kube-scheduler and etcd. No package index offers these programs, but Debian 12 has the source of
# Kubernetes 1.20 with all its libraries, and etcd as a package. Needs Debian with apt sources; Go is installed if it is
# missing, which needs root. About ten minutes on two free cores and 3 GB; 280 MB stay. After a failure, the next run goes on
# where this one ended.
set -euo pipefail

release=bookworm
version=1.20.2
etcd_programs=(etcd)
built_programs=(kube-apiserver kube-controller-manager kube-scheduler)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

top=$(cd "$(dirname "$0")/.." && pwd)
into=${1:-$top/build/control-plane}/$version
mkdir -p "$into"
into=$(cd "$into" && pwd)
work=$into/work
source=$work/go/src/k8s.io/kubernetes

missing() {
    local program
    for program in "$@"; do
        [ -x "$into/$program" ] || return 0
    done
    return 1
}

# The first Debian archive in the apt sources that is neither security nor backports.
mirror() {
    {
        sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
        sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^[:space:]]*\).*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
    } 2>/dev/null | grep -m1 -E '/debian/?$'
}

# An apt configuration of its own: it knows source packages, and changes nothing of the system's.
private_apt() {
    local root=$1 archive
    archive=$(mirror) || [ -n "$archive" ]  # one of the files may be missing
    mkdir -p "$root"/etc/apt/{preferences.d,apt.conf.d,sources.list.d} "$root"/var/lib/dpkg \
        "$root"/var/lib/apt/lists/partial "$root"/var/cache/apt/archives/partial
    : >"$root/var/lib/dpkg/status"
    printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$archive" "$release" deb-src "$keyring" "$archive" "$release" \
        >"$root/etc/apt/sources.list"
    printf 'Dir "%s";\nDir::State::status "%s/var/lib/dpkg/status";\nAPT::Sandbox::User "";\n' "$root" "$root" >"$root/apt.conf"
    export APT_CONFIG=$root/apt.conf
}

install_compiler() {
    command -v go >/dev/null && return
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends golang-go >/dev/null
}

download() {
    [ -d "$source" ] && return
    mkdir -p "$(dirname "$source")"
    private_apt "$work/apt"
    apt-get -qq update
    (cd "$work" && apt-get -qq download etcd-server && apt-get -qq source --download-only kubernetes)
    dpkg-deb -x "$work"/etcd-server_*.deb "$work/etcd"
    tar -C "$work" -xzf "$work"/kubernetes_*.orig.tar.gz
    mv "$work/kubernetes-$version" "$source"
}

# reflect2 1.0.1 calls a function of the runtime that took two arguments and returned the iterator of a map. Since Go 1.18 the
# caller provides the iterator as the third argument. Without this change the server reads memory that is not its own, and
# ends after some minutes with `unexpected fault address`.
repair_reflect2() {
    python3 - "$source/vendor/github.com/modern-go/reflect2" <<'PYTHON'
import pathlib
import re
import sys

folder = pathlib.Path(sys.argv[1])
FIELDS = (  # of runtime.hiter in Go 1.19
    "key, value, maptype, table, buckets, bucket unsafe.Pointer",
    "overflow, oldoverflow *[]unsafe.Pointer",
    "startBucket uintptr",
    "offset uint8",
    "wrapped bool",
    "b, i uint8",
    "number, checkBucket uintptr",
)


def change(name: str, pattern: str, text: str) -> None:
    path = folder / name
    old = path.read_text()
    if text in old:
        return
    new, count = re.subn(pattern, lambda _: text, old, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"control plane: {name} of reflect2 is not as expected")
    path.write_text(new)


change(
    "unsafe_link.go",
    r"func mapiterinit\(rtype unsafe\.Pointer, m unsafe\.Pointer\) \*hiter",
    "func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer, it *hiter)",
)
change("unsafe_link.go", r"type hiter struct \{.*?\n\}", "type hiter struct {\n\t" + "\n\t".join(FIELDS) + "\n}")
change(
    "unsafe_map.go",
    r"return &UnsafeMapIterator\{\s*hiter:\s*mapiterinit\(type2\.rtype, \*\(\*unsafe\.Pointer\)\(obj\)\),",
    "it := new(hiter)\n\tmapiterinit(type2.rtype, *(*unsafe.Pointer)(obj), it)\n\treturn &UnsafeMapIterator{\n\t\thiter: it,",
)
PYTHON
}

# Kubernetes' own build generates code for ten minutes. The source package has all of it but the description of the API.
# Old packages need the mode without modules.
build() {
    cd "$source"
    export GOPATH=$work/go GO111MODULE=off CGO_ENABLED=0 GOCACHE=$work/cache
    local about=k8s.io/kubernetes/vendor/k8s.io/component-base/version
    local facts="-X $about.gitVersion=v$version -X $about.gitMajor=1 -X $about.gitMinor=20 -X $about.gitTreeState=archive"
    describe_api
    nice -n 19 go build -ldflags "-s -w $facts" -o "$work/built/" "${built_programs[@]/#/./cmd/}"
    install -m 755 "${built_programs[@]/#/$work/built/}" "$into"
}

# The types with a tag, apart from those of the generators themselves and of the example.
describe_api() {
    local described=pkg/generated/openapi/zz_generated.openapi.go folders
    [ -e "$described" ] && return
    folders=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg staging/src/k8s.io \
        | grep -v -e /code-generator/ -e /sample- | xargs -n 1 dirname | sort -u \
        | sed -e 's|^staging/src/|k8s.io/kubernetes/vendor/|' -e 's|^pkg/|k8s.io/kubernetes/pkg/|' | paste -s -d ,)
    nice -n 19 go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    nice -n 19 "$work/openapi-gen" --logtostderr --input-dirs "$folders" --output-package k8s.io/kubernetes/pkg/generated/openapi \
        --output-file-base zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt \
        --report-filename "$work/violations"
}

if missing "${built_programs[@]}" "${etcd_programs[@]}"; then
    install_compiler
    download
    install -m 755 "$work"/etcd/usr/bin/etcd "$into"
    repair_reflect2
    (build)
    chmod -R u+w "$work"
    rm -rf "$work"
fi
echo "control plane: Kubernetes $version in $into"
