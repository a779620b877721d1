//! `mica run -it`, as a person at a terminal meets it.

use std::os::fd::AsFd as _;
use std::time::Duration;

use mica::sys::pty::{self, Size};

use crate::person::Person;
use crate::world::{IMAGE, Who, World};

/// Somebody in a shell of a container.
fn shell(world: &World) -> Person {
    let mut person = Person::new(&world.mica(&[
        "run",
        "-it",
        "--rm",
        "--hostname",
        "box",
        IMAGE,
        "bash",
        "--norc",
    ]));
    person.sees("# ");
    person
}

fn everything_of_a_terminal(who: Who) {
    let world = World::with_image(who);
    let mut person = shell(&world);
    person.types("tty; stty size; echo $TERM\n");
    // What is typed is shown, and then what came of it.
    person.sees("tty; stty size; echo $TERM\r\n");
    person.sees("/dev/pts/0\r\n33 77\r\nxterm\r\n");
    person.sees("# ");
    pty::set_size(person.master.as_fd(), Size { rows: 40, columns: 132 }).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    person.types("stty size\n");
    person.sees("40 132\r\n");
    person.sees("# ");

    person.types("sleep 600; echo not here\n");
    person.sees("not here\r\n");
    std::thread::sleep(Duration::from_millis(300));
    person.types("\x03");
    person.sees("^C");
    person.sees("# ");
    person.types("echo code $?\n");
    person.sees("code 130\r\n");

    person.types("sleep 100 &\n");
    person.sees("[1] ");
    person.types("jobs\n");
    person.sees("Running");
    person.types("fg\n");
    person.sees("sleep 100\r\n");
    std::thread::sleep(Duration::from_millis(300));
    person.types("\x1a");
    person.sees("Stopped");
    person.sees("# ");
    // bash refuses to end as long as it takes a job for stopped, so this one is ended in front.
    person.types("fg\n");
    person.sees("sleep 100\r\n");
    std::thread::sleep(Duration::from_millis(300));
    person.types("\x03");
    person.sees("^C");
    person.sees("# ");
    assert!(!person.seen.contains("job control"), "{:?}", person.seen);

    person.types("exit 7\n");
    assert_eq!(person.ends(), 7);
    assert!(person.echoes(), "the terminal is as it was");
    world.assert_clear();
}

#[test]
fn a_terminal_works_as_root() {
    everything_of_a_terminal(Who::Root);
}

#[test]
fn a_terminal_works_for_a_user() {
    everything_of_a_terminal(Who::User);
}

#[test]
fn a_terminal_works_without_a_range_of_ids() {
    everything_of_a_terminal(Who::Without);
}

#[test]
fn the_end_of_input_ends_the_shell() {
    let world = World::with_image(Who::User);
    let mut person = shell(&world);
    person.types("\x04");
    assert_eq!(person.ends(), 0);
    world.assert_clear();
}
