# What the scripts share: words to the person, the cache, becoming root or the test user.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# The unprivileged user of tests, demo and benchmarks; scripts/setup makes it.
test_user=mica-test
# Another one, for tests, who has no range of ids.
test_user_without=mica-test-none

# Downloaded packages, built images and cargo tools. Safe to delete; then they are made again.
cache=${MICA_TEST_CACHE:-${HOME:-/root}/.cache/mica-test}
tools=$cache/tools
PATH=$PATH:$tools/bin

say() { printf '%s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf 'hint: %s\n' "$line" >&2; done
    exit 1
}

# Runs a command as root: as it is, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Runs a command as the test user with a clean environment, in the directory $user_dir, which
# make_user_dir makes. Only root can; the other scripts ask for root with need_root.
as_user() {
    runuser -u "$test_user" -- env -i -C "$user_dir" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME="$user_dir" USER="$test_user" LOGNAME="$test_user" LANG=C.UTF-8 \
        TMPDIR="$user_dir/tmp" XDG_RUNTIME_DIR="$user_dir/runtime" \
        TERM="${TERM:-dumb}" "$@"
}

# A directory of the test user's own, $1 as the beginning of its name, for one run.
make_user_dir() {
    user_dir=$(mktemp -d "/var/tmp/$1.XXXXXX")
    install -d -m 700 -o "$test_user" "$user_dir/tmp" "$user_dir/runtime"
    chown "$test_user" "$user_dir"
    chmod 755 "$user_dir"
}

# Ends every process of the user directory and removes it, with what only root can remove.
remove_user_dir() {
    [ -n "${user_dir:-}" ] || return 0
    end_user_processes
    unmount_under "$user_dir"
    rm -rf --one-file-system "$user_dir"
    user_dir=
}

# Unmounts what is mounted below a directory, the last mounted first.
unmount_under() {
    awk -v top="$1/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r at; do umount -l "$(printf '%b' "$at")"; done
}

# Ends every process that was started with its home in $user_dir (as_user does that), or with a path
# below it among its arguments, whoever it runs as now.
end_user_processes() {
    local proc
    for proc in /proc/[0-9]*; do
        # Processes come and go; what cannot be read is gone.
        if { tr '\0' '\n' <"$proc/environ" | grep -qxF "HOME=$user_dir" ||
            tr '\0' '\n' <"$proc/cmdline" | grep -qF "$user_dir/"; } 2>/dev/null; then
            kill -KILL "${proc#/proc/}" 2>/dev/null || true
        fi
    done
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$1 changes users, for which it must be root" "sudo $1"
}

# Milliseconds since some fixed moment.
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
