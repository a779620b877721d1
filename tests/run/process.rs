//! The command: what it is told, who it is, what it gets of the outside, how its end is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use crate::support::{Bench, Process, am_root};

trials!(
    the_exit_code_is_the_commands_own,
    a_command_that_a_signal_killed_gives_128_and_the_signal,
    a_command_that_is_not_there_gives_127,
    a_command_that_cannot_be_executed_gives_126,
    a_container_that_cannot_be_made_gives_125,
    a_root_filesystem_that_cannot_be_mounted_is_an_error_and_nothing_stays,
    the_command_is_a_child_of_an_init_and_leads_its_session,
    orphans_are_reaped,
    the_end_of_the_command_ends_what_it_started,
    signals_reach_the_command,
    signals_start_with_their_default_actions,
    users_are_found_by_name_and_number_with_their_groups,
    an_unknown_user_is_refused,
    home_is_the_users_unless_it_is_set,
    the_environment_holds_what_was_given_and_nothing_else,
    a_working_directory_is_made_when_it_is_missing,
    without_interaction_nothing_is_read,
    with_interaction_standard_input_is_passed_on,
    no_descriptor_but_the_standard_streams_is_open,
    the_host_name_is_set,
    one_id_works_with_a_warning,
);

fn the_exit_code_is_the_commands_own() {
    let bench = Bench::new();
    for code in [0, 7, 255] {
        assert_eq!(bench.run(&[], &["sh", "-c", &format!("exit {code}")]).code, code);
    }
}

fn a_command_that_a_signal_killed_gives_128_and_the_signal() {
    let bench = Bench::new();
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        assert_eq!(bench.run(&[], &["sh", "-c", &format!("kill -{signal} $$")]).code, code);
    }
}

fn a_command_that_is_not_there_gives_127() {
    let bench = Bench::new();
    for command in ["no-such-command", "/no/such/file", "./none"] {
        let said = bench.run(&[], &[command]);
        assert_eq!(said.code, 127, "{said:?}");
        assert!(said.err.contains(command), "{said:?}");
    }
    let broken = bench.rootfs().join("root/script");
    std::fs::write(&broken, "#!/no/such/interpreter\n").unwrap();
    assert!(std::process::Command::new("chmod").arg("755").arg(broken).status().unwrap().success());
    assert_eq!(bench.run(&[], &["/root/script"]).code, 127);
}

fn a_command_that_cannot_be_executed_gives_126() {
    let bench = Bench::new();
    for command in ["/etc/passwd", "/etc"] {
        let said = bench.run(&[], &[command]);
        assert_eq!(said.code, 126, "{said:?}");
        assert!(said.err.contains(command), "{said:?}");
    }
}

fn a_container_that_cannot_be_made_gives_125() {
    let bench = Bench::new();
    for options in [["--bind", "/no/such/path:/x"], ["--user", "nobody-here"], ["--cwd", "x"]] {
        let said = bench.run(&options, &["true"]);
        assert_eq!(said.code, 125, "{said:?}");
        assert!(said.err.starts_with("error: "), "{said:?}");
    }
}

fn a_root_filesystem_that_cannot_be_mounted_is_an_error_and_nothing_stays() {
    let bench = Bench::new();
    let said = bench.run(&["--no-rootfs"], &["true"]);
    assert_eq!(said.code, 125);
    assert!(said.err.contains("mount the root filesystem: no such image"), "{said:?}");
    assert!(bench.containers().is_empty());
}

fn the_command_is_a_child_of_an_init_and_leads_its_session() {
    let out = Bench::new().sh(&[], "ps -o pid=,ppid=,sid= -p $$");
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["2", "1", "2"]);
}

fn orphans_are_reaped() {
    let script = "(sleep 0.05 & exec sleep 0.01); sleep 0.3; ps -eo stat= | grep -c Z; true";
    assert_eq!(Bench::new().sh(&[], script), "0\n");
}

fn the_end_of_the_command_ends_what_it_started() {
    let bench = Bench::new();
    let start = std::time::Instant::now();
    bench.sh(&[], "trap '' TERM HUP; (sleep 60 >/dev/null 2>&1 &)");
    assert!(start.elapsed().as_secs() < 30);
}

fn signals_reach_the_command() {
    let bench = Bench::new();
    for (signal, code) in [("TERM", 41), ("INT", 42), ("USR1", 43), ("HUP", 44), ("QUIT", 45)] {
        let script =
            format!("trap 'exit {code}' {signal}; echo ready; while :; do sleep 0.01; done");
        let mut command = bench.command(&[], &["sh", "-c", &script]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Process::of(child.id()).signal(&format!("-{signal}"));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

fn signals_start_with_their_default_actions() {
    let out = Bench::new().run(&[], &["cat", "/proc/self/status"]).out;
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(out.contains(&format!("{set}:\t0000000000000000\n")), "{out}");
    }
}

fn users_are_found_by_name_and_number_with_their_groups() {
    let bench = Bench::new();
    let id = |user: &str| bench.sh(&["--user", user], "id -u; id -g; id -G").replace('\n', " ");
    assert_eq!(id("0"), "0 0 0 ");
    assert_eq!(id("www-data"), "33 33 33 29 ");
    assert_eq!(id("33"), "33 33 33 29 ");
    assert_eq!(id("33:29"), "33 29 29 ");
    assert_eq!(id("4711"), "4711 0 0 ");
}

fn an_unknown_user_is_refused() {
    let bench = Bench::new();
    let said = bench.run(&["--user", "0:no-such-group"], &["true"]);
    assert_eq!(said.code, 125);
    assert!(said.err.contains("no such group"), "{said:?}");
    if !am_root() {
        let said = bench.run(&["--user", "1000000"], &["true"]);
        assert!(said.err.contains("not among the mapped ids"), "{said:?}");
    }
}

fn home_is_the_users_unless_it_is_set() {
    let bench = Bench::new();
    assert_eq!(bench.sh(&[], "echo $HOME"), "/root\n");
    assert_eq!(bench.sh(&["--user", "www-data"], "echo $HOME"), "/var/www\n");
    assert_eq!(bench.sh(&["--user", "4711"], "echo $HOME"), "/\n");
    assert_eq!(bench.sh(&["--env", "HOME=/here"], "echo $HOME"), "/here\n");
}

fn the_environment_holds_what_was_given_and_nothing_else() {
    let bench = Bench::new();
    let out = bench.run(&["--env", "A=b c", "--hostname", "host"], &["env"]).out;
    let mut names: Vec<&str> = out.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "HOME", "HOSTNAME", "PATH", "container"]);
    assert!(out.contains("A=b c\n") && out.contains("HOSTNAME=host\n"), "{out}");
}

fn a_working_directory_is_made_when_it_is_missing() {
    let bench = Bench::new();
    let options = ["--cwd", "/srv/a/b", "--user", "www-data"];
    assert_eq!(
        bench.sh(&options, "pwd; ls -dln . | cut -d' ' -f1,3,4"),
        "/srv/a/b\ndrwxr-xr-x 0 0\n"
    );
}

fn without_interaction_nothing_is_read() {
    let bench = Bench::new();
    let mut command = bench.command(&[], &["sh", "-c", "wc -c; readlink /proc/self/fd/0"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"0\n/dev/null\n");
}

fn with_interaction_standard_input_is_passed_on() {
    let bench = Bench::new();
    let mut command = bench.command(&["-i"], &["tr", "a-z", "A-Z"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((child.wait().unwrap().code(), out.as_str()), (Some(0), "HELLO"));
}

fn no_descriptor_but_the_standard_streams_is_open() {
    // The last one is that of the listing itself.
    let out = Bench::new().run(&[], &["ls", "/proc/self/fd"]).out;
    assert_eq!(out, "0\n1\n2\n3\n");
}

fn the_host_name_is_set() {
    let bench = Bench::new();
    let script = "hostname; cat /etc/hostname; grep -w box.example /etc/hosts";
    let out = bench.sh(&["--hostname", "box.example"], script);
    assert_eq!(out, "box.example\nbox.example\n127.0.0.1\tbox.example\n");
    assert_eq!(bench.sh(&[], "hostname").len(), 13);
}

fn one_id_works_with_a_warning() {
    let bench = Bench::new();
    let said = bench.run(&["--single-id"], &["sh", "-c", "id -u; id -g; touch /root/x"]);
    assert_eq!((said.code, said.out.as_str()), (0, "0\n0\n"), "{said:?}");
    assert!(said.err.starts_with("warning: only root exists"), "{said:?}");
    let said = bench.run(&["--single-id", "--user", "33"], &["true"]);
    assert_eq!(said.code, 125);
    assert!(said.err.contains("only root exists in the container"), "{said:?}");
}
