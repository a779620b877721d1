# The peer: rootless podman over fuse-overlayfs, as the test user. Sourced after common.sh.
# shellcheck shell=bash

# Runs podman as the test user with a store of its own below the user directory.
#
# Where the machine has cgroups of both versions, crun refuses to start: podman then runs in a mount
# namespace without the second. It needs no cgroups here (--cgroups=disabled, in podman_run).
podman_as_user() {
    local store=$user_dir/podman
    local -a words=(podman --root "$store/root" --runroot "$store/runroot" --storage-driver overlay
        --storage-opt overlay.mount_program=/usr/bin/fuse-overlayfs
        --cgroup-manager cgroupfs --events-backend file "$@")
    if mountpoint -q /sys/fs/cgroup/unified; then
        (
            export -f as_user
            export user_dir test_user
            exec unshare --mount --propagation private bash -euc \
                'umount /sys/fs/cgroup/unified; as_user "$@"' podman "${words[@]}"
        )
    else
        as_user "${words[@]}"
    fi
}

# podman run, as bare as mica's: no cgroups, no network, the limits of the caller.
podman_run() {
    podman_as_user run --cgroups=disabled --network=none --ulimit=host --tls-verify=false "$@"
}

# An empty store, and no process that remembers the one before.
podman_reset() {
    podman_as_user system migrate >/dev/null 2>&1 || true
    end_user_processes
    unmount_under "$user_dir/podman"
    rm -rf --one-file-system "$user_dir/podman"
}
