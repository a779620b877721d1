//! What is left when something is killed: no process, no mount, and no directory that the next
//! command does not clear.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use mica::run::state::{Containers, State};

use crate::support::{Bench, Process, am_root, until};

trials!(
    killing_the_launching_process_ends_everything,
    killing_the_supervisor_ends_everything,
    killing_process_one_is_reported_as_signal_9,
    killing_at_any_moment_leaves_nothing_behind,
    a_removed_container_leaves_no_directory,
    files_of_any_owner_are_removed,
    a_kept_container_records_how_it_ended,
    names_are_unique,
    ctrl_c_before_the_command_runs_ends_all_of_it,
);

/// A container that runs, and its processes: launching, supervisor, first, command.
struct Running {
    child: Child,
    processes: Vec<Process>,
}

fn start(bench: &Bench, options: &[&str], script: &str) -> Running {
    let mut command = bench.command(options, &["sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let mut processes = vec![Process::of(child.id())];
    let mut at = 0;
    while let Some(process) = processes.get(at).cloned() {
        processes.extend(process.children());
        at += 1;
    }
    assert!(processes.len() >= 4, "{processes:?}");
    Running { child, processes }
}

const WAIT: &str = "(sleep 600 & sleep 600) & echo ready; trap '' TERM HUP INT; sleep 600";

fn gone(running: &mut Running) -> i32 {
    let status = running.child.wait().unwrap();
    until("every process has ended", || !running.processes.iter().any(Process::alive));
    status.code().unwrap_or(-1)
}

fn no_mounts(bench: &Bench) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(bench.path().to_str().unwrap()), "{mounts}");
}

fn killing_the_launching_process_ends_everything() {
    for (remove, options) in
        [(true, &["--remove", "--served"][..]), (true, &["--remove"]), (false, &[])]
    {
        let bench = Bench::new();
        let mut running = start(&bench, options, WAIT);
        running.processes[0].signal("-KILL");
        gone(&mut running);
        no_mounts(&bench);
        assert_eq!(bench.containers().len(), 1);
        assert_eq!(bench.sweep(), 1);
        assert_eq!(bench.containers().len(), usize::from(!remove));
        assert_eq!(bench.sweep(), 0);
    }
}

fn killing_the_supervisor_ends_everything() {
    for options in [&["--remove"][..], &["--remove", "--served"]] {
        let bench = Bench::new();
        let mut running = start(&bench, options, WAIT);
        running.processes[1].signal("-KILL");
        assert_eq!(gone(&mut running), 125);
        no_mounts(&bench);
        bench.sweep();
        assert!(bench.containers().is_empty());
    }
}

fn killing_process_one_is_reported_as_signal_9() {
    let bench = Bench::new();
    let mut running = start(&bench, &["--remove"], WAIT);
    running.processes[2].signal("-KILL");
    assert_eq!(gone(&mut running), 137);
    no_mounts(&bench);
    assert!(bench.containers().is_empty());
}

fn killing_at_any_moment_leaves_nothing_behind() {
    let bench = Bench::new();
    for step in 0..160 {
        let options: &[&str] =
            if step % 2 == 0 { &["--remove", "--served"] } else { &["--remove"] };
        let mut command = bench.command(options, &["true"]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(500 * step));
        let launching = Process::of(child.id());
        let mut processes = launching.children();
        processes.extend(processes.clone().iter().flat_map(Process::children));
        child.kill().unwrap();
        child.wait().unwrap();
        until("every process has ended", || !processes.iter().any(Process::alive));
    }
    no_mounts(&bench);
    bench.sweep();
    assert!(bench.containers().is_empty());
}

fn a_removed_container_leaves_no_directory() {
    let bench = Bench::new();
    bench.sh(&["--remove"], "true");
    assert!(bench.containers().is_empty());
}

/// Has files of several owners, of modes that keep even those out, in the container's directory.
fn litter(bench: &Bench, running: &Running) {
    let dir = bench.containers()[0].join("upper/a");
    let inside = running.processes[1].pid.to_string();
    let script = format!(
        "mkdir -p {dir} && echo x >{dir}/f && chown 33:42 {dir}/f {dir} && chmod 0 {dir}",
        dir = dir.display()
    );
    let mut nsenter = Command::new("nsenter");
    if !am_root() {
        nsenter.arg("-U").arg("--preserve-credentials");
    }
    let status = nsenter.args(["-m", "-t", &inside, "sh", "-c", &script]).status().unwrap();
    assert!(status.success());
}

fn files_of_any_owner_are_removed() {
    let bench = Bench::new();
    let mut running = start(
        &bench,
        &["--remove"],
        "echo ready; trap 'exit 3' TERM; while :; do sleep 0.01; done",
    );
    litter(&bench, &running);
    running.processes[0].signal("-TERM");
    assert_eq!(gone(&mut running), 3);
    assert!(bench.containers().is_empty(), "by the container itself");

    let mut running = start(&bench, &["--remove"], WAIT);
    litter(&bench, &running);
    running.processes[0].signal("-KILL");
    gone(&mut running);
    assert_eq!(bench.sweep(), 1);
    assert!(bench.containers().is_empty(), "by the next command");
}

fn a_kept_container_records_how_it_ended() {
    let bench = Bench::new();
    bench.run(&["--name", "kept"], &["sh", "-c", "exit 9"]);
    let containers = Containers::open(bench.store()).unwrap();
    let kept = containers.find("kept").unwrap().unwrap();
    assert!(matches!(kept.state, State::Exited { code: 9, .. }), "{kept:?}");
    assert_eq!(containers.find(&kept.config.id[..5]).unwrap().as_ref(), Some(&kept));

    let mut running = start(&bench, &["--name", "other"], WAIT);
    let listed = containers.find("other").unwrap().unwrap();
    assert!(matches!(listed.state, State::Running { pid, .. } if pid == running.processes[0].pid));
    assert!(containers.take(&listed).is_err(), "it is running");
    running.processes[0].signal("-KILL");
    gone(&mut running);
    assert_eq!(bench.sweep(), 1);
    let listed = containers.find("other").unwrap().unwrap();
    assert!(matches!(listed.state, State::Exited { code: 137, .. }), "{listed:?}");
    assert_eq!(containers.list().unwrap().len(), 2);
    containers.take(&kept).unwrap().remove().unwrap_or_else(|error| {
        // A test has several threads; of files of its own there is no need for another process.
        panic!("{error}")
    });
    assert_eq!(containers.list().unwrap(), [listed]);
}

fn names_are_unique() {
    let bench = Bench::new();
    let first = bench.run(&["--name", "one"], &["true"]);
    assert_eq!(first.code, 0);
    let second = bench.run(&["--name", "one"], &["true"]);
    assert_eq!(second.code, 125);
    assert!(second.err.contains("the name \"one\" is in use by container "), "{second:?}");
    assert_eq!(bench.containers().len(), 1);
    for name in ["x", "-a", "a/b", "../a", ""] {
        assert_eq!(bench.run(&["--name", name], &["true"]).code, 125, "{name}");
    }
}

fn ctrl_c_before_the_command_runs_ends_all_of_it() {
    let bench = Bench::new();
    let mut command = bench.command(&["--remove"], &["sleep", "600"]);
    let mut child = command.spawn().unwrap();
    let launching = Process::of(child.id());
    until("there is a supervisor", || !launching.children().is_empty());
    launching.signal("-INT");
    let code = child.wait().unwrap().code();
    // The command may have been reached after all; it ends by the same signal.
    assert_eq!(code, Some(130));
    bench.sweep();
    assert!(bench.containers().is_empty());
}
