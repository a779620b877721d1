//! What is mounted in a container.

use std::fs;

use crate::support::Bench;

trials!(
    a_directory_of_the_host_can_be_bound,
    a_read_only_bind_is_read_only_throughout,
    a_file_of_the_host_can_be_bound,
    mounts_nest_whatever_their_order,
    a_tmpfs_is_empty_and_takes_no_programs,
    a_tmpfs_is_as_large_and_as_open_as_it_is_wanted,
    a_read_only_root_still_has_writable_mounts,
    dev_holds_what_programs_expect,
    the_hosts_mounts_are_gone,
    mounts_over_proc_and_the_root_are_refused,
    files_of_etc_can_be_bound_by_the_caller,
);

fn a_directory_of_the_host_can_be_bound() {
    let bench = Bench::new();
    let host = bench.path().join("shared");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("in"), "from outside").unwrap();
    let bind = format!("{}:/new/place", host.display());
    assert_eq!(
        bench.sh(&["--bind", &bind], "cat /new/place/in; echo back >/new/place/out"),
        "from outside"
    );
    assert_eq!(fs::read_to_string(host.join("out")).unwrap(), "back\n");
}

fn a_read_only_bind_is_read_only_throughout() {
    let bench = Bench::new();
    let bind = "/usr:/u:ro";
    let script = "touch /u/x 2>/dev/null || touch /usr/x 2>/dev/null || echo refused";
    assert_eq!(bench.sh(&["--bind", bind], script), "refused\n");
    // What is mounted below the directory is bound too, and no less read-only.
    let script = "[ -e /d/shm ] && touch /d/shm/x 2>&1 | grep -c Read-only";
    assert_eq!(bench.sh(&["--bind", "/dev:/d:ro"], script), "1\n");
}

fn a_file_of_the_host_can_be_bound() {
    let bench = Bench::new();
    let file = bench.path().join("file");
    fs::write(&file, "content").unwrap();
    let bind = format!("{}:/etc/new.conf:ro", file.display());
    assert_eq!(
        bench.sh(&["--bind", &bind], "cat /etc/new.conf; echo x >/etc/new.conf || true"),
        "content"
    );
    assert_eq!(fs::read_to_string(file).unwrap(), "content");
}

fn mounts_nest_whatever_their_order() {
    let bench = Bench::new();
    let (outer, inner) = (bench.path().join("outer"), bench.path().join("inner"));
    fs::create_dir(&outer).unwrap();
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("x"), "inner").unwrap();
    let (inner, outer) = (format!("{}:/a/b", inner.display()), format!("{}:/a", outer.display()));
    assert_eq!(bench.sh(&["--bind", &inner, "--bind", &outer], "cat /a/b/x"), "inner");
}

fn a_tmpfs_is_empty_and_takes_no_programs() {
    let bench = Bench::new();
    fs::write(bench.rootfs().join("tmp/x"), "").unwrap();
    let script = "ls /tmp; cp /bin/true /tmp/t; /tmp/t 2>/dev/null; echo $?; stat -c %a /tmp";
    assert_eq!(bench.sh(&["--tmpfs", "/tmp"], script), "126\n1777\n");
    assert!(!bench.rootfs().join("tmp/t").exists());
}

fn a_tmpfs_is_as_large_and_as_open_as_it_is_wanted() {
    let bench = Bench::new();
    let script = "stat -c %a /t; df -k --output=size /t | tail -1; cp /bin/true /t/; /t/true";
    let said = bench.sh(&["--tmpfs", "/t:size=1m,mode=0700,exec"], script);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["700", "1024"]);
    let script = "touch /t/x 2>/dev/null || echo refused";
    assert_eq!(bench.sh(&["--tmpfs", "/t:ro"], script), "refused\n");
}

fn a_read_only_root_still_has_writable_mounts() {
    let bench = Bench::new();
    let script = "for d in / /etc /tmp /dev/shm; do touch $d/x 2>/dev/null && echo $d; done; true";
    assert_eq!(bench.sh(&["--read-only", "--tmpfs", "/tmp"], script), "/tmp\n/dev/shm\n");
}

fn dev_holds_what_programs_expect() {
    let out = Bench::new().sh(&[], "ls /dev; ls /dev/pts; readlink /dev/fd /dev/ptmx");
    let expected = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom \
        zero ptmx /proc/self/fd pts/ptmx";
    assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" "), expected);
}

fn the_hosts_mounts_are_gone() {
    let bench = Bench::new();
    let out = bench.sh(&[], "cut -d' ' -f5 /proc/self/mountinfo");
    let known = ["/proc", "/dev", "/sys", "/etc", "/usr"];
    for line in out.lines().filter(|&line| line != "/") {
        assert!(known.iter().any(|known| line.starts_with(known)), "{line}");
    }
    assert_eq!(out.lines().next(), Some("/"));
}

fn mounts_over_proc_and_the_root_are_refused() {
    let bench = Bench::new();
    for bind in ["/tmp:/", "/tmp:/proc", "/tmp:/proc/sys", "/tmp:/a/../..", "/tmp:a", "tmp:/a"] {
        assert_eq!(bench.run(&["--bind", bind], &["true"]).code, 125, "{bind}");
    }
}

fn files_of_etc_can_be_bound_by_the_caller() {
    let bench = Bench::new();
    let hosts = bench.path().join("hosts");
    fs::write(&hosts, "mine").unwrap();
    let bind = format!("{}:/etc/hosts", hosts.display());
    assert_eq!(bench.sh(&["--bind", &bind], "cat /etc/hosts"), "mine");
}
