#!/usr/bin/env bash
# Installs the inspection on a machine with systemd, from a copy of this project. See usage() below.
set -euo pipefail
umask 022

source_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
prefix=/opt/inspector
python="${PYTHON:-python3}"
root=""
action=install
purge=false
missing=0

usage() {
    cat <<'TEXT'
Usage: deploy/install.sh [--check | --uninstall [--purge]] [--root DIR]

Without an option: installs or upgrades. A second run changes nothing that is right already. Needs root.

  --check      says what is missing or differs and changes nothing; exit code 1 if anything does
  --uninstall  stops the stations and removes program, units and system settings; keeps /etc/inspector and
               /var/lib/inspector (configurations, recipes, verdicts) and the user
  --purge      with --uninstall: removes those too
  --root DIR   lays the files out below DIR: no user, no Python environment, nothing of this system is touched
  --help       this text

PYTHON=python3.12 deploy/install.sh chooses the interpreter (3.10 to 3.13). Where a folder `wheels` lies beside `deploy`,
as in the Debian package, the program comes from there and nothing is downloaded.
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# Where a path of the installed system lies now.
at() { printf '%s%s' "$root" "$1"; }

live() { [ -z "$root" ]; }

# What is installed: source below this project, place on the system.
shipped_files() {
    cat <<'LIST'
deploy/systemd/inspector@.service /etc/systemd/system/inspector@.service
deploy/udev/70-inspector-usb3-vision.rules /etc/udev/rules.d/70-inspector-usb3-vision.rules
deploy/sysctl/60-inspector.conf /etc/sysctl.d/60-inspector.conf
deploy/tmpfiles/inspector.conf /etc/tmpfiles.d/inspector.conf
deploy/station.yaml /etc/inspector/station.yaml.example
docs/operations.md /opt/inspector/doc/operations.md
LIST
    local file
    for file in "$source_dir"/deploy/systemd/drop-ins/*.conf; do
        say "deploy/systemd/drop-ins/${file##*/} $prefix/drop-ins/${file##*/}"
    done
    for file in "$source_dir"/deploy/prometheus/*.yaml; do
        say "deploy/prometheus/${file##*/} $prefix/prometheus/${file##*/}"
    done
    for file in "$source_dir"/deploy/grafana/dashboards/*.json; do
        say "deploy/grafana/dashboards/${file##*/} $prefix/grafana/dashboards/${file##*/}"
    done
    for file in "$source_dir"/deploy/grafana/provisioning/*/*.yaml; do
        say "${file#"$source_dir"/} $prefix/grafana/${file#"$source_dir"/deploy/grafana/}"
    done
}

version() {
    local version
    version="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source_dir/inspector/__init__.py")"
    [ -n "$version" ] || fail "no version in $source_dir/inspector/__init__.py; is this a complete copy of the project?"
    printf '%s' "$version"
}

# Name of this release: its version and a digest of what would be installed. A running station keeps its own release.
release() {
    local version digest
    version="$(version)"
    digest="$(cd "$source_dir" &&
        find inspector calibration pyproject.toml -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum |
        sha256sum | cut -c1-8)"
    printf '%s-%s' "$version" "$digest"
}

# One line of the report of --check.
report() {
    if [ "$1" = ok ]; then
        say "ok       $2"
    else
        say "$1  $2"
        missing=1
    fi
}

check_file() {
    local from="$source_dir/$1" to
    to="$(at "$2")"
    if [ ! -e "$to" ]; then
        report "missing" "$2"
    elif ! cmp -s "$from" "$to"; then
        report "differs" "$2 (from $1)"
    else
        report ok "$2"
    fi
}

check_folder() {
    local path
    path="$(at "$1")"
    if [ ! -d "$path" ]; then
        report "missing" "$1"
    elif [ "$(stat -c %a "$path")" != "$2" ]; then
        report "differs" "$1: mode $(stat -c %a "$path"), expected $2"
    elif live && [ "$(stat -c %U:%G "$path")" != "$3" ]; then
        report "differs" "$1: owner $(stat -c %U:%G "$path"), expected $3"
    else
        report ok "$1"
    fi
}

check_live() {
    if id -u inspector >/dev/null 2>&1; then report ok "user inspector"; else report "missing" "user inspector"; fi
    if [ "$(readlink "$prefix/venv" 2>/dev/null)" = "releases/$(release)" ] && [ -x "$prefix/venv/bin/inspector" ]; then
        report ok "program, release $(release)"
    else
        report "missing" "program, release $(release) in $prefix/venv"
    fi
    local key value now
    while read -r key value; do
        now="$(sysctl -n "$key" 2>/dev/null || printf 0)"
        if [ "$now" -ge "$value" ]; then
            report ok "$key = $now"
        else
            report "differs" "$key = $now, expected at least $value: sysctl --system"
        fi
    done < <(sed -n 's/^\([a-z_.]*\) = \([0-9]*\)$/\1 \2/p' "$source_dir/deploy/sysctl/60-inspector.conf")
    local usb=/sys/module/usbcore/parameters/usbfs_memory_mb
    if [ -e "$usb" ] && [ "$(cat "$usb")" -lt 1000 ] && [ "$(cat "$usb")" -ne 0 ]; then
        report "differs" "$usb = $(cat "$usb"), expected 1000: systemd-tmpfiles --create inspector.conf"
    fi
}

check() {
    local from to
    check_folder /etc/inspector 750 root:inspector
    check_folder /var/lib/inspector 750 inspector:inspector
    check_folder /var/lib/inspector/recipes 750 inspector:inspector
    while read -r from to; do check_file "$from" "$to"; done < <(shipped_files)
    if live; then check_live; fi
    if [ "$missing" -ne 0 ]; then
        say "something is missing; deploy/install.sh mends it"
        exit 1
    fi
    say "all is in place"
}

put_file() {
    local from="$source_dir/$1" to
    to="$(at "$2")"
    if ! cmp -s "$from" "$to"; then
        install -D -m 644 "$from" "$to"
        say "written  $2"
    fi
}

put_folder() {
    local path
    path="$(at "$1")"
    install -d -m "$2" "$path"
    if live; then chown "$3" "$path"; fi
}

make_user() {
    getent group inspector >/dev/null || groupadd --system inspector
    if ! id -u inspector >/dev/null 2>&1; then
        useradd --system --gid inspector --home-dir /var/lib/inspector --no-create-home \
            --shell /usr/sbin/nologin inspector
        say "created  user inspector"
    fi
}

# A release is built beside the one in use and switched to at the end: a running daemon goes on with its own.
make_program() {
    local name folder
    name="$(release)"
    folder="$prefix/releases/$name"
    if [ "$(readlink "$prefix/venv" 2>/dev/null)" = "releases/$name" ] && [ -x "$folder/bin/inspector" ]; then
        return
    fi
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
        fail "Python 3.10 to 3.13 is needed, $python is not; choose another with PYTHON=python3.12 $0"
    if [ ! -e "$folder/.complete" ]; then
        local from=("$source_dir") how="this downloads PyTorch and takes some minutes"
        if [ -d "$source_dir/wheels" ]; then
            from=(--no-index --find-links "$source_dir/wheels" "conveyor-inspector==$(version)")
            how="this takes some minutes"
        fi
        say "installing release $name; $how"
        rm -rf "$folder"
        "$python" -m venv "$folder" || fail "no virtual environment; on Debian: apt-get install python3-venv"
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${from[@]}" ||
            fail "pip could not install the program; the running release was left as it was"
        runuser -u inspector -- "$folder/bin/inspector" --version ||
            fail "the user inspector can't run the program; the interpreter $(realpath "$folder/bin/python") must be" \
                "readable for every user. Choose another with PYTHON=/usr/bin/python3 $0"
        touch "$folder/.complete"
    fi
    ln -sfn "releases/$name" "$prefix/venv.new"
    mv -T "$prefix/venv.new" "$prefix/venv"
    say "release  $name"
}

apply_settings() {
    systemctl daemon-reload || say "note: systemd is not running here; the unit is read at the next boot"
    sysctl --quiet --load=/etc/sysctl.d/60-inspector.conf ||
        say "note: the receive buffers could not be set; see /etc/sysctl.d/60-inspector.conf"
    systemd-tmpfiles --create inspector.conf || say "note: the USB memory could not be set"
    if udevadm control --reload 2>/dev/null; then
        udevadm trigger --subsystem-match=usb
    else
        say "note: udev is not running here; plug USB cameras in again after the next boot"
    fi
}

do_install() {
    if live; then
        [ "$(id -u)" -eq 0 ] || fail "needs root; try: sudo $0"
        make_user
    fi
    put_folder /etc/inspector 750 root:inspector
    put_folder /var/lib/inspector 750 inspector:inspector
    put_folder /var/lib/inspector/recipes 750 inspector:inspector
    local from to
    while read -r from to; do put_file "$from" "$to"; done < <(shipped_files)
    if live; then
        make_program
        apply_settings
        say "installed. Next: copy /etc/inspector/station.yaml.example to /etc/inspector/STATION.yaml; see"
        say "$prefix/doc/operations.md. Running stations go on with their release until they are restarted."
    fi
}

uninstall() {
    if live; then
        [ "$(id -u)" -eq 0 ] || fail "needs root; try: sudo $0 --uninstall"
        systemctl stop 'inspector@*.service' 2>/dev/null || say "note: systemd is not running here"
    fi
    rm -f "$root"/etc/systemd/system/multi-user.target.wants/inspector@*.service
    local from to
    while read -r from to; do rm -f "$(at "$to")"; done < <(shipped_files)
    rm -rf "$(at "$prefix")"
    if "$purge"; then
        rm -rf "$(at /etc/inspector)" "$(at /var/lib/inspector)"
        rm -rf "$root"/etc/systemd/system/inspector@*.service.d
        if live && id -u inspector >/dev/null 2>&1; then userdel inspector; fi
        say "removed, with configurations, recipes and verdicts"
    else
        say "removed; /etc/inspector and /var/lib/inspector were kept"
    fi
    if live; then systemctl daemon-reload 2>/dev/null || true; fi
}

while [ $# -gt 0 ]; do
    case "$1" in
        --check) action=check ;;
        --uninstall) action=uninstall ;;
        --purge) purge=true ;;
        --root)
            [ $# -ge 2 ] || fail "--root needs a folder"
            [ "$(realpath -m "$2")" != / ] || fail "--root / is the running system; leave --root out"
            root="$(realpath -m "$2")"
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) fail "unknown option $1; see $0 --help" ;;
    esac
    shift
done
if "$purge" && [ "$action" != uninstall ]; then fail "--purge goes with --uninstall"; fi

case "$action" in
    check) check ;;
    uninstall) uninstall ;;
    install) do_install ;;
esac
