//! What people do in a container of a real image.

use crate::support::until;
use crate::world::{IMAGE, Who, World, registry};

/// What a Debian must be able to do: each in a container of its own, so that none needs another.
const WORK: &[(&str, &str)] = &[
    ("a program and its libraries", "ldd /bin/bash | grep -q libc && perl -e 'print 6 * 7' | grep -qx 42"),
    (
        "a package",
        "dpkg -i /opt/debs/hello_*.deb >/dev/null && [ \"$(hello)\" = 'Hello, world!' ] &&
         dpkg --verify hello && dpkg -r hello && ! command -v hello",
    ),
    (
        "hard links and symlinks",
        "cd /srv/app && [ $(stat -c %h hello.py) = 2 ] && echo more >>hello.py && cmp hello.py main.py &&
         [ $(stat -c %i hello.py) = $(stat -c %i main.py) ] && ln main.py third && rm hello.py &&
         [ $(stat -c %h third) = 2 ] && ln -s third soft && grep -q more soft && readlink soft | grep -qx third",
    ),
    (
        "what the image has removed and replaced",
        "! [ -e /srv/app/retired.conf ] && ! [ -e /usr/share/doc/git ] && [ \"$(ls /srv/app/data)\" = new ]",
    ),
    (
        "a directory of the image, removed and made again",
        "rm -rf /usr/share/doc /srv/app && ! [ -e /usr/share/doc ] && mkdir /usr/share/doc /srv/app &&
         [ -z \"$(ls -A /usr/share/doc /srv/app | grep -v :)\" ]",
    ),
    (
        "work with git",
        "git config --global user.email a@example.org && git config --global user.name a &&
         git init -q /work && cd /work && cp -r /etc/apt . && git add -A && git commit -qm one &&
         echo x >>apt/new && git mv apt apt2 && git status --porcelain | grep -q apt2 &&
         git add -A && git commit -qm two && git checkout -q HEAD~ && [ -d apt ] &&
         git fsck --strict &&
         [ -z \"$(git status --porcelain)\" ]",
    ),
    (
        "renames of files and directories of the image",
        "mv /etc/apt /etc/apt2 && [ -e /etc/apt2/trusted.gpg.d ] && ! [ -e /etc/apt ] &&
         mv /etc/debian_version /etc/issue && mv /etc/apt2 /etc/apt && cp -a /etc /etc2 && diff -r /etc/apt /etc2/apt",
    ),
    (
        "files that are mapped, truncated, held open and removed",
        "cp /usr/bin/perl /tmp/perl && /tmp/perl -e 'print 1' >/dev/null && truncate -s 0 /etc/login.defs &&
         ! [ -s /etc/login.defs ] && exec 3</etc/debconf.conf && rm /etc/debconf.conf &&
         grep -q Name <&3 &&
         perl -e 'open F, \"+<\", \"/etc/profile\" or die; seek F, 0, 0; print F \"#\"' &&
         head -c1 /etc/profile | grep -qx '#'",
    ),
];

/// What takes more than one id.
const OWNERS: &[(&str, &str)] = &[
    (
        "users",
        "useradd -m someone && [ $(stat -c %U /home/someone) = someone ] &&
         su someone -c 'touch ~/mine && ! touch /etc/x 2>/dev/null' && userdel -r someone &&
         ! [ -e /home/someone ]",
    ),
    (
        "owners",
        "touch /x && chown 33:42 /x && [ $(stat -c %u:%g /x) = 33:42 ] &&
         chown -R www-data /usr/share/perl5 &&
         [ $(stat -c %U /usr/share/perl5/Git.pm) = www-data ] &&
         chmod 4755 /usr/bin/perl && [ $(stat -c %a /usr/bin/perl) = 4755 ]",
    ),
    (
        "other users",
        "[ $(su www-data -s /bin/sh -c 'id -un') = www-data ] && [ $(stat -c %U /var/mail) = root ] &&
         [ $(stat -c %G /var/mail) = mail ]",
    ),
];

fn works(who: Who, work: &[(&str, &str)]) {
    let world = World::with_image(who);
    for (what, script) in work {
        let said = world.try_sh(&[], script);
        assert_eq!(said.code, 0, "{what}: {said:?}");
    }
    world.assert_clear();
}

#[test]
fn a_debian_works_as_root() {
    works(Who::Root, WORK);
    works(Who::Root, OWNERS);
}

#[test]
fn a_debian_works_for_a_user_with_a_range_of_ids() {
    works(Who::User, WORK);
    works(Who::User, OWNERS);
}

#[test]
fn without_a_range_of_ids_there_is_a_warning_and_the_rest_works() {
    let world = World::with_image(Who::Without);
    let said = world.try_sh(&[], "id -u; stat -c %u:%g /usr/bin/perl /var/mail /etc/shadow");
    assert_eq!((said.code, said.out.as_str()), (0, "0\n0:0\n0:0\n0:0\n"), "{said:?}");
    assert!(said.err.starts_with("warning: only root exists in the container: "), "{said:?}");
    assert!(said.err.contains("/etc/subuid"), "{said:?}");
    works(Who::Without, WORK);
}

#[test]
fn the_issues_own_example_works() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let script = "echo $VAR1; cat /etc/os-release; echo hi > /etc/motd";
        let said = world.try_mica(&["run", "--rm", "-e", "VAR1=ubuntu", IMAGE, "sh", "-c", script]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        assert!(said.out.starts_with("ubuntu\nPRETTY_NAME=\"Debian"), "{said:?}");
    }
}

#[test]
fn the_exit_code_is_the_commands_own_or_says_why_there_is_none() {
    for who in [Who::Root, Who::User, Who::Without] {
        let world = World::with_image(who);
        let code = |command: &[&str]| {
            let said = world.try_mica(&[&["run", "--rm", IMAGE], command].concat());
            (said.code, said.err)
        };
        assert_eq!(code(&["sh", "-c", "exit 0"]).0, 0);
        assert_eq!(code(&["sh", "-c", "exit 42"]).0, 42);
        assert_eq!(code(&["sh", "-c", "kill -TERM $$"]).0, 143);
        assert_eq!(code(&["sh", "-c", "kill -SEGV $$"]).0, 139);
        for (command, expected) in
            [("/etc/passwd", 126), ("/usr", 126), ("no-such-program", 127), ("/no/such", 127)]
        {
            let (code, said) = code(&[command]);
            assert_eq!(code, expected, "{command}: {said}");
            assert!(said.contains("error: ") && said.contains("cause: "), "{said}");
            assert!(said.contains(command), "{said}");
        }
        world.assert_clear();
    }
}

#[test]
fn standard_input_and_both_outputs_are_the_commands_own() {
    let world = World::with_image(Who::User);
    let input = world.write("input", "one\ntwo\n");
    let script = "wc -l; echo to stderr >&2; exit 3";
    let mut command = world.mica(&["run", "--rm", "-i", IMAGE, "sh", "-c", script]);
    let said =
        crate::support::said(command.stdin(std::fs::File::open(input).unwrap()).output().unwrap());
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (3, "2\n", "to stderr\n"));
    let without = world.try_mica(&["run", "--rm", IMAGE, "wc", "-c"]);
    assert_eq!((without.code, without.out.as_str()), (0, "0\n"), "without -i there is no input");
}

#[test]
fn what_one_container_changes_no_other_sees() {
    for who in [Who::Root, Who::User] {
        let world = World::with_image(who);
        let before = world.sh(&[], "cat /etc/motd; ls / | tr '\\n' ' '; cat /srv/app/hello.py");
        world.sh(&[], "echo other >/etc/motd; mkdir /made; rm /srv/app/hello.py; rm -rf /opt");
        let kept =
            world.try_mica(&["run", IMAGE, "sh", "-c", "rm -rf /srv /opt; echo other >/etc/motd"]);
        assert_eq!((kept.code, kept.err.as_str()), (0, ""));
        let after = world.sh(&[], "cat /etc/motd; ls / | tr '\\n' ' '; cat /srv/app/hello.py");
        assert_eq!(before, after);
        let id = world.do_mica(&["ps", "-aq"]);
        world.do_mica(&["rm", id.trim()]);
        world.assert_clear();
    }
}

#[test]
fn two_containers_of_an_image_run_side_by_side() {
    let world = World::with_image(Who::User);
    let script =
        "echo $0 >/etc/motd; sleep 0.7; cat /etc/motd; [ $(ls /proc | grep -c '^[0-9]') -lt 8 ]";
    let start = |name: &str| {
        let mut command = world.mica(&["run", "--rm", IMAGE, "sh", "-c", script, name]);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let children = ["a", "b", "c"].map(|name| (name, start(name)));
    until("all three run", || world.do_mica(&["ps", "-q"]).lines().count() == 3);
    for (name, child) in children {
        let said = crate::support::said(child.wait_with_output().unwrap());
        assert_eq!((said.code, said.out), (0, format!("{name}\n")));
    }
    world.assert_clear();
}

#[test]
fn run_pulls_the_image_by_itself() {
    let registry = registry();
    for who in [Who::User, Who::Root] {
        let world = World::new(who);
        let name = registry.reference("debian-app:zstd");
        let said = world.try_mica(&["run", "--rm", &name, "cat", "/srv/app/data/new"]);
        assert_eq!((said.code, said.out.as_str()), (0, "new\n"), "{said:?}");
        assert_eq!(said.err.lines().count(), 5, "a line for each layer: {said:?}");
        let again = world.do_mica(&["run", "--rm", "debian-app:zstd", "cat", "/srv/app/data/new"]);
        assert_eq!(again, "new\n");
        world.assert_clear();
    }
}
