//! The command's terminal, seen from a real one.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use mica::sys::pty::{self, Size};

use crate::person::Person;
use crate::support::{Bench, Process, until};

trials!(
    the_command_has_a_terminal_of_its_own,
    its_size_follows_the_persons,
    ctrl_c_interrupts_the_job_in_front,
    job_control_works,
    the_persons_terminal_is_raw_meanwhile_and_restored_afterwards,
    the_persons_terminal_is_restored_when_a_signal_ends_the_container,
    without_interaction_only_output_is_relayed,
    the_end_of_input_that_is_no_terminal_is_passed_on,
    all_output_arrives,
    who_stops_reading_hangs_up,
    another_user_owns_the_terminal,
);

fn the_command_has_a_terminal_of_its_own() {
    let bench = Bench::new();
    let script =
        "tty; test -c /dev/console && echo $TERM; ls -l /proc/self/fd/2 | grep -o '/dev/.*'";
    let mut person = Person::new(&bench.command(&["-i", "-t"], &["sh", "-c", script]));
    assert_eq!(person.ends(), 0);
    assert_eq!(person.seen, "/dev/pts/0\r\nxterm\r\n/dev/pts/0\r\n");
}

fn its_size_follows_the_persons() {
    let bench = Bench::new();
    let script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.01; done";
    let mut person = Person::new(&bench.command(&["-i", "-t"], &["sh", "-c", script]));
    person.sees("33 77\r\n");
    pty::set_size(person.master.as_fd(), Size { rows: 40, columns: 132 }).unwrap();
    person.sees("40 132\r\n");
    assert_eq!(person.ends(), 0);
}

fn ctrl_c_interrupts_the_job_in_front() {
    let bench = Bench::new();
    let mut person = Person::new(&bench.command(&["-i", "-t"], &["bash", "--norc"]));
    person.sees("# ");
    person.types("sleep 600; echo not here\n");
    person.sees("sleep 600");
    std::thread::sleep(Duration::from_millis(300));
    person.types("\x03");
    person.sees("^C");
    person.sees("# ");
    person.types("echo still $((40 + 2))\n");
    person.sees("still 42");
    person.types("exit 5\n");
    assert_eq!(person.ends(), 5);
}

fn job_control_works() {
    let bench = Bench::new();
    let mut person = Person::new(&bench.command(&["-i", "-t"], &["bash", "--norc"]));
    person.sees("# ");
    person.types("cat\n");
    person.sees("cat\r\n");
    std::thread::sleep(Duration::from_millis(300));
    person.types("\x1a");
    person.sees("Stopped");
    person.types("jobs; fg\n");
    person.sees("Stopped");
    person.types("hello\n");
    person.sees("hello\r\nhello\r\n");
    person.types("\x04exit\n");
    assert_eq!(person.ends(), 0);
    assert!(!person.seen.contains("no job control"), "{:?}", person.seen);
}

fn the_persons_terminal_is_raw_meanwhile_and_restored_afterwards() {
    let bench = Bench::new();
    let script = "echo ready; read line; exit 6";
    let mut person = Person::new(&bench.command(&["-i", "-t"], &["sh", "-c", script]));
    person.sees("ready");
    assert!(!person.echoes());
    person.types("x\n");
    assert_eq!(person.ends(), 6);
    assert!(person.echoes());
}

fn the_persons_terminal_is_restored_when_a_signal_ends_the_container() {
    let bench = Bench::new();
    let mut person =
        Person::new(&bench.command(&["-i", "-t"], &["sh", "-c", "echo ready; sleep 600"]));
    person.sees("ready");
    Process::of(person.child.id()).signal("-TERM");
    assert_eq!(person.ends(), 143);
    assert!(person.echoes());
}

fn without_interaction_only_output_is_relayed() {
    let bench = Bench::new();
    let mut person =
        Person::new(&bench.command(&["-t"], &["sh", "-c", "echo out; sleep 0.3; tty"]));
    person.sees("out");
    assert!(person.echoes());
    assert_eq!(person.ends(), 0);
}

fn the_end_of_input_that_is_no_terminal_is_passed_on() {
    let bench = Bench::new();
    let mut command = bench.command(&["-i", "-t"], &["cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"line\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "line\r\nline\r\n");
}

fn all_output_arrives() {
    let bench = Bench::new();
    let said = bench.run(&["-t"], &["seq", "1", "50000"]);
    assert_eq!(said.out.lines().count(), 50_000);
    assert_eq!(said.out.lines().last(), Some("50000"));
}

fn who_stops_reading_hangs_up() {
    let bench = Bench::new();
    let mut command = bench.command(&["-t"], &["yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = [0; 3];
    child.stdout.take().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"y\r\n");
    let mut ended = None;
    until("the command ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(129));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

fn another_user_owns_the_terminal() {
    let bench = Bench::new();
    let out = bench.sh(&["-t", "--user", "www-data"], "stat -c %u $(tty); echo x >$(tty)");
    assert_eq!(out, "33\r\nx\r\n");
}
