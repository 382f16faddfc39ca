#!/usr/bin/env bash
# Makes a Debian package that a machine without internet can install. See usage() below.
set -euo pipefail
umask 022

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source_dir="$(cd "$here/../.." && pwd)"
python="${PYTHON:-python3}"
wheels=""
output=""
stage=""

usage() {
    cat <<'TEXT'
Usage: deploy/debian/build.sh [--wheels DIR] OUTPUT_DIR

Writes conveyor-inspector_VERSION_ARCH.deb into OUTPUT_DIR. The package holds the program with everything that it needs
from PyPI, some 3 GB, most of it PyTorch with CUDA; what is installed is what deploy/install.sh installs.

Build it where there is internet, on the target's release of Debian or Ubuntu, or with the same version of Python:
PYTHON=python3.12 deploy/debian/build.sh OUTPUT_DIR chooses it (3.10 to 3.13).

  --wheels DIR  takes the wheels from there, the program's own and all that it needs, and downloads nothing
  --help        this text
TEXT
}

fail() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

gather_wheels() {
    printf 'gathering wheels; this downloads PyTorch and takes some minutes\n'
    "$python" -m venv "$stage/venv" || fail "no virtual environment; on Debian: apt-get install python3-venv"
    "$stage/venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --wheel-dir "$stage/wheels" "$source_dir" ||
        fail "pip could not gather the wheels"
    wheels="$stage/wheels"
}

# The program's files, and no caches of whoever worked in this copy.
put_source() {
    local name
    for name in inspector calibration deploy docs; do cp -R "$source_dir/$name" "$1/"; done
    for name in pyproject.toml README.md CHANGELOG.md LICENSE; do cp "$source_dir/$name" "$1/"; done
    find "$1" -name __pycache__ -type d -prune -exec rm -rf {} +
}

# The interpreter that the wheels are for; Python's own packages have the same rule.
control() {
    local version="$1" minor="$2" size="$3"
    cat <<TEXT
Package: conveyor-inspector
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The conveyor-inspector authors <noreply@conveyor-inspector.invalid>
Installed-Size: $size
Depends: python3 (>= 3.$minor), python3 (<< 3.$((minor + 1))), python3-venv, procps, systemd, udev
Section: science
Priority: optional
Description: Visual inspection beside a conveyor
 A daemon that decides, part after part, pass or reject: GenICam cameras, anomaly detection on a GPU or the CPU, one
 verdict for every part in time, metrics for Prometheus and dashboards for Grafana. Learns from good parts alone.
 .
 Stations that run go on with their release until they are restarted. See /opt/inspector/doc/operations.md.
TEXT
}

main() {
    local version minor tree
    version="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source_dir/inspector/__init__.py")"
    [ -n "$version" ] || fail "no version in $source_dir/inspector/__init__.py; is this a complete copy of the project?"
    command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing; build on Debian or Ubuntu"
    minor="$("$python" -c 'import sys; print(sys.version_info[1] if (3, 10) <= sys.version_info[:2] <= (3, 13) else "")')"
    [ -n "$minor" ] || fail "Python 3.10 to 3.13 is needed, $python is not"
    stage="$(mktemp -d)"
    trap 'rm -rf "$stage"' EXIT
    [ -n "$wheels" ] || gather_wheels
    compgen -G "$wheels/conveyor_inspector-$version-*.whl" >/dev/null ||
        fail "$wheels has no wheel of the program, conveyor_inspector-$version-*.whl"
    tree="$stage/tree"
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/conveyor-inspector/wheels" "$output"
    put_source "$tree/usr/share/conveyor-inspector"
    ln "$wheels"/*.whl "$tree/usr/share/conveyor-inspector/wheels/" 2>/dev/null ||
        cp "$wheels"/*.whl "$tree/usr/share/conveyor-inspector/wheels/"
    install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$tree/DEBIAN/"
    control "$version" "$minor" "$(du -sk "$tree" | cut -f1)" >"$tree/DEBIAN/control"
    # Wheels are compressed already.
    dpkg-deb --root-owner-group -Znone --build "$tree" "$output"
}

while [ $# -gt 0 ]; do
    case "$1" in
        --wheels)
            [ $# -ge 2 ] || fail "--wheels needs a folder"
            [ -d "$2" ] || fail "$2 is no folder"
            wheels="$(realpath "$2")"
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        -*) fail "unknown option $1; see $0 --help" ;;
        *)
            [ -z "$output" ] || fail "one output folder; see $0 --help"
            output="$1"
            ;;
    esac
    shift
done
[ -n "$output" ] || fail "an output folder is needed; see $0 --help"
main
