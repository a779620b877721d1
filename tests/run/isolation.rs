//! What a container cannot see, reach or do.

use crate::support::{Bench, am_root};

trials!(
    root_of_a_container_has_fourteen_capabilities_and_other_users_none,
    capabilities_do_not_come_back,
    mounting_and_its_kin_are_refused,
    unknown_system_calls_do_not_exist,
    namespaces_cannot_be_made,
    without_a_filter_the_kernel_still_refuses,
    what_tells_of_the_machine_is_hidden,
    what_changes_the_machine_is_read_only,
    process_one_cannot_be_looked_into,
    process_one_does_not_tell_how_it_was_started,
    only_processes_of_the_container_are_seen,
    a_container_without_a_network_has_a_working_loopback_only,
    the_network_of_the_host_can_be_shared,
    devices_that_are_made_cannot_be_opened,
    set_user_id_programs_work_unless_ruled_out,
);

fn root_of_a_container_has_fourteen_capabilities_and_other_users_none() {
    let bench = Bench::new();
    let script = "grep ^Cap /proc/self/status | cut -f2";
    let (none, some) = ("0000000000000000", "00000000a80425fb");
    let root: Vec<String> = bench.sh(&[], script).lines().map(str::to_owned).collect();
    assert_eq!(root, [none, some, some, some, none]);
    let user: Vec<String> =
        bench.sh(&["--user", "www-data"], script).lines().map(str::to_owned).collect();
    assert_eq!(user, [none, none, none, some, none]);
}

fn capabilities_do_not_come_back() {
    let said = Bench::new().run(&[], &["chroot", "/", "sh", "-c", "hostname other"]);
    assert_ne!(said.code, 0, "{said:?}");
}

/// Makes a system call by number, and prints the number of its error.
fn errno(bench: &Bench, options: &[&str], call: i64, args: &str) -> String {
    let script = format!("my $r = syscall({call}, {args}); print $r < 0 ? $!+0 : 'done';");
    let said = bench.run(options, &["perl", "-e", &script]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

const EPERM: &str = "1";
const ENOSYS: &str = "38";

fn mounting_and_its_kin_are_refused() {
    let bench = Bench::new();
    assert_ne!(bench.run(&[], &["mount", "-t", "tmpfs", "none", "/tmp"]).code, 0);
    assert_ne!(bench.run(&[], &["umount", "/proc/sys"]).code, 0);
    for (name, call) in [
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("setns", libc::SYS_setns),
        ("bpf", libc::SYS_bpf),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("reboot", libc::SYS_reboot),
        ("swapon", libc::SYS_swapon),
        ("settimeofday", libc::SYS_settimeofday),
        ("perf_event_open", libc::SYS_perf_event_open),
    ] {
        assert_eq!(errno(&bench, &[], call, "0, 0, 0, 0, 0"), EPERM, "{name}");
    }
}

fn unknown_system_calls_do_not_exist() {
    let bench = Bench::new();
    assert_eq!(errno(&bench, &[], 1_000_000, "0"), ENOSYS);
    assert_eq!(errno(&bench, &[], libc::SYS_clone3, "0, 0"), ENOSYS);
    assert_eq!(errno(&bench, &[], libc::SYS_io_uring_setup, "0, 0"), ENOSYS);
    // The other calling convention of the same processor has numbers of its own.
    #[cfg(target_arch = "x86_64")]
    assert_eq!(errno(&bench, &[], 0x4000_0000 + libc::SYS_getpid, "0"), ENOSYS);
}

fn namespaces_cannot_be_made() {
    let bench = Bench::new();
    assert_ne!(bench.run(&[], &["unshare", "-U", "true"]).code, 0);
    assert_ne!(bench.run(&["--user", "www-data"], &["unshare", "-U", "true"]).code, 0);
    for flag in [0x1000_0000u32, 0x0002_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(errno(&bench, &[], libc::SYS_clone, &format!("{flag}, 0, 0, 0, 0")), EPERM);
    }
}

fn without_a_filter_the_kernel_still_refuses() {
    let bench = Bench::new();
    let said = bench.run(&["--unconfined"], &["grep", "^Seccomp:", "/proc/self/status"]);
    assert_eq!(said.out, "Seccomp:\t0\n");
    assert_ne!(bench.run(&["--unconfined"], &["umount", "/proc/sys"]).code, 0);
    let mount = ["mount", "-t", "tmpfs", "none", "/tmp"];
    assert_ne!(bench.run(&["--unconfined"], &mount).code, 0);
}

fn what_tells_of_the_machine_is_hidden() {
    let script = "for f in kcore keys timer_list interrupts sched_debug latency_stats; do
        [ ! -e /proc/$f ] || [ ! -s /proc/$f ] || exit 1; head -c 1 /proc/$f 2>/dev/null; done
        for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/dev/block; do
        [ ! -e $d ] || [ -z \"$(ls -A $d)\" ] || exit 2; done";
    for options in [&[][..], &["--host-network"]] {
        assert_eq!(Bench::new().sh(options, script), "");
    }
}

fn what_changes_the_machine_is_read_only() {
    let script = "touch /proc/sysrq-trigger 2>/dev/null && [ -w /proc/sysrq-trigger ] && echo b \
            >/proc/sysrq-trigger && exit 1
        for f in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness /sys/kernel/mm/ksm/run; do
        if { echo 1 >$f; } 2>/dev/null; then echo $f; fi; done";
    for options in [&[][..], &["--host-network"]] {
        assert_eq!(Bench::new().sh(options, script), "");
    }
}

fn process_one_cannot_be_looked_into() {
    let script = "for f in root cwd exe fd/1 ns/mnt environ maps; do
        if readlink /proc/1/$f || cat /proc/1/$f; then echo $f; fi 2>/dev/null; done; \
        kill -STOP 1; kill -KILL 1; echo alive";
    assert_eq!(Bench::new().sh(&[], script), "alive\n");
}

fn process_one_does_not_tell_how_it_was_started() {
    let out = Bench::new().sh(&["--hostname", "secret"], "tr -d '\\000' </proc/1/cmdline");
    assert_eq!(out, "mica-init");
}

fn only_processes_of_the_container_are_seen() {
    // Process 1, the shell, and what the shell starts to list them.
    let out = Bench::new().sh(&[], "ls -d /proc/[0-9]* | wc -l");
    assert_eq!(out, "4\n");
}

fn a_container_without_a_network_has_a_working_loopback_only() {
    let bench = Bench::new();
    let script = "ls /sys/class/net; cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '";
    assert_eq!(bench.sh(&[], script), "lo\nlo\n");
    let talk = "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 1, \
        LocalAddr => '127.0.0.1') or die; my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', \
        PeerPort => $s->sockport) or die $!; my $a = $s->accept; print $a \"hi\\n\"; close $a; \
        print <$c>;";
    assert_eq!(bench.run(&[], &["perl", "-e", talk]).out, "hi\n");
}

fn the_network_of_the_host_can_be_shared() {
    let bench = Bench::new();
    let inside = bench.sh(&["--host-network"], "readlink /proc/self/ns/net");
    assert_eq!(inside.trim(), std::fs::read_link("/proc/self/ns/net").unwrap().to_str().unwrap());
    let own = bench.sh(&[], "readlink /proc/self/ns/net");
    assert_ne!(own, inside);
}

fn devices_that_are_made_cannot_be_opened() {
    let bench = Bench::new();
    for dir in ["/root", "/dev", "/dev/shm", "/mem"] {
        let script = format!("mknod {dir}/null c 1 3 2>/dev/null && cat {dir}/null; true");
        let said = bench.run(&["--tmpfs", "/mem"], &["sh", "-c", &script]);
        if am_root() && dir != "/dev" {
            assert!(said.err.contains("Permission denied"), "{dir}: {said:?}");
        }
        assert_eq!(said.code, 0);
    }
    assert_eq!(bench.sh(&[], "head -c 3 /dev/zero | wc -c; echo x >/dev/null"), "3\n");
}

fn set_user_id_programs_work_unless_ruled_out() {
    let bench = Bench::new();
    let root = bench.rootfs();
    std::fs::copy("/usr/bin/id", root.join("tmp/id")).unwrap();
    let chmod = "chmod 4755 /tmp/id";
    bench.sh(&[], chmod);
    assert_eq!(bench.sh(&["--user", "www-data"], "/tmp/id -u"), "0\n");
    let options = ["--user", "www-data", "--no-new-privileges"];
    assert_eq!(bench.sh(&options, "/tmp/id -u"), "33\n");
}
