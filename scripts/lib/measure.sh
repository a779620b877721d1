# Measures the first run of an image. Sourced after common.sh, registry.sh, image.sh and podman.sh.
# shellcheck shell=bash

# Puts the release build of mica where the test user can run it.
install_mica() {
    (cd "$top" && cargo build --release --locked --bin mica)
    local target
    target=$(cd "$top" && cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
    install -d "$user_dir/bin"
    install -m 755 "$target/release/mica" "$user_dir/bin/mica"
}

mica_as_user() { as_user "$user_dir/bin/mica" "$@"; }

# Removes the test user's store. Images and containers may belong to the user's other ids, so root
# does it.
mica_reset() {
    end_user_processes
    rm -rf --one-file-system "$user_dir/.local"
}

# Bytes that a directory takes on disk.
disk_bytes() { du -s --block-size=1 "$1" | cut -f1; }

# Runs a command and prints the milliseconds until the first line of its output, which must be "hi".
ms_to_hi() {
    local start line
    start=$(now_ms)
    "$@" | {
        IFS= read -r line || line=
        local took=$(($(now_ms) - start))
        cat >/dev/null
        [ "$line" = hi ] || die "no output but '$line' from: $*"
        echo "$took"
    }
}

# Pull and run on an empty store: sets mica_ms, mica_bytes.
first_run_of_mica() {
    mica_reset
    mica_ms=$(ms_to_hi mica_as_user run --rm "$registry/debian-app:1" echo hi 2>"$user_dir/talk") ||
        die "mica run failed" "$(tail -n 3 "$user_dir/talk")"
    mica_bytes=$(disk_bytes "$user_dir/.local/share/mica")
}

# The same with podman: sets podman_ms, podman_bytes.
first_run_of_podman() {
    podman_reset
    podman_ms=$(ms_to_hi podman_run --rm "$registry/debian-app:1" echo hi 2>"$user_dir/talk") ||
        die "podman run failed" "$(tail -n 3 "$user_dir/talk")"
    podman_bytes=$(disk_bytes "$user_dir/podman/root")
}

# The middle one of the numbers that are the arguments.
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

# $1 / $2 with two decimals.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

seconds() { ratio "$1" 1000; }

megabytes() { awk -v n="$1" 'BEGIN { printf "%.1f", n / 1e6 }'; }

fact() { jq ".$1" "$image_dir/facts"; }
