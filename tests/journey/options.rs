//! Each option of `mica run`, in a container of a real image.

use std::fs;
use std::process::Stdio;

use crate::support::until;
use crate::world::{IMAGE, Who, World};

const BOTH: [Who; 2] = [Who::Root, Who::User];

#[test]
fn volumes_are_shown_and_written_to_unless_read_only() {
    for who in [Who::Root, Who::User, Who::Without] {
        let world = World::with_image(who);
        let dir = world.make_dir("dir");
        let file = world.write("file", "of the host\n");
        let (dir, file) = (dir.to_str().unwrap(), file.to_str().unwrap());
        let write = "echo made >/mnt/new; cat /etc/one";
        let out =
            world.sh(&["-v", &format!("{dir}:/mnt"), "-v", &format!("{file}:/etc/one:ro")], write);
        assert_eq!(out, "of the host\n");
        assert_eq!(fs::read_to_string(format!("{dir}/new")).unwrap(), "made\n");
        let script = "! echo x 2>/dev/null >/mnt/deep/new && ! rm /mnt/deep/new 2>/dev/null && cat /mnt/deep/new";
        assert_eq!(world.sh(&["-v", &format!("{dir}:/mnt/deep:ro")], script), "made\n");
        assert_eq!(fs::read_to_string(format!("{dir}/new")).unwrap(), "made\n");
        // A relative source; the mount point of one that the image has hides what is there.
        assert_eq!(world.sh(&["-v", "./dir:/srv/app"], "ls /srv/app"), "new\n");
        let said = world.try_sh(&["-v", "/no/such/source:/mnt"], "true");
        assert_eq!(said.code, 125);
        for part in ["error: ", "cause: ", "hint: ", "/no/such/source"] {
            assert!(said.err.contains(part), "{part} in {said:?}");
        }
        world.assert_clear();
    }
}

#[test]
fn a_read_only_root_has_writable_places_where_they_are_asked_for() {
    for who in BOTH {
        let world = World::with_image(who);
        let script =
            "! touch /x /etc/motd 2>/dev/null; touch /tmp/x; stat -f -c %T /tmp; ls -A /tmp";
        assert_eq!(world.sh(&["--read-only", "--tmpfs", "/tmp"], script), "tmpfs\nx\n");
        let said = world.try_sh(&["--read-only"], "touch /x");
        assert_eq!(said.code, 1);
        assert!(said.err.contains("Read-only file system"), "{said:?}");
        assert_eq!(world.sh(&["--tmpfs", "/srv/app"], "ls -A /srv/app; touch /made"), "");
    }
}

#[test]
fn the_working_directory_the_user_and_the_entry_point_are_as_asked() {
    for who in BOTH {
        let world = World::with_image(who);
        assert_eq!(world.sh(&[], "pwd; id -u"), "/srv/app\n0\n");
        assert_eq!(world.sh(&["-w", "/etc"], "pwd"), "/etc\n");
        assert_eq!(world.sh(&["-w", "/not/there/yet"], "pwd; ls -A"), "/not/there/yet\n");
        assert_eq!(world.sh(&["-u", "www-data"], "id -un; id -gn"), "www-data\nwww-data\n");
        assert_eq!(
            world.sh(&["-u", "33:4"], "id -u; id -g; ! touch /etc/x 2>/dev/null"),
            "33\n4\n"
        );
        assert_eq!(
            world.sh(&["-u", "nobody"], "grep CapEff /proc/self/status"),
            "CapEff:\t0000000000000000\n"
        );
        let out = world.do_mica(&["run", "--rm", "--entrypoint", "/bin/echo", IMAGE, "a", "b"]);
        assert_eq!(out, "a b\n");
        let said = world.try_sh(&["-u", "no-such-user"], "true");
        assert_eq!(said.code, 125, "{said:?}");
        assert!(said.err.contains("no-such-user"), "{said:?}");
    }
}

#[test]
fn host_name_and_variables_are_as_asked() {
    for who in BOTH {
        let world = World::with_image(who);
        let file = world.write("variables", "# comment\nA=file\nB=of the file\n");
        let options = [
            "--hostname",
            "box",
            "--env-file",
            file.to_str().unwrap(),
            "-e",
            "A=given",
            "-e",
            "C=",
        ];
        let script = "hostname; cat /etc/hostname; getent hosts box >/dev/null && echo \"$A,$B,${C-unset}\"; echo $LANG";
        assert_eq!(world.sh(&options, script), "box\nbox\ngiven,of the file,\nC.UTF-8\n");
        let said = world.try_sh(&["--env-file", "/no/such/file"], "true");
        assert_eq!(said.code, 125);
        assert!(said.err.contains("/no/such/file"), "{said:?}");
    }
}

#[test]
fn a_name_belongs_to_one_container() {
    let world = World::with_image(Who::User);
    assert_eq!(world.do_mica(&["run", "--name", "one", IMAGE, "echo", "x"]), "x\n");
    let said = world.try_mica(&["run", "--name", "one", IMAGE, "echo", "x"]);
    assert_eq!((said.code, said.out.as_str()), (125, ""));
    assert!(said.err.contains("\"one\" is in use"), "{said:?}");
    assert!(world.do_mica(&["ps", "-a"]).contains("Exited (0)"));
    world.do_mica(&["rm", "one"]);
    assert_eq!(world.do_mica(&["run", "--rm", "--name", "one", IMAGE, "echo", "x"]), "x\n");
    world.assert_clear();
}

#[test]
fn without_a_network_there_is_loopback_and_no_way_out() {
    for who in BOTH {
        let world = World::with_image(who);
        let script = "cat /sys/class/net/lo/operstate /sys/class/net/lo/flags; ls /sys/class/net; \
            tail -n +2 /proc/net/route | wc -l; \
            perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1\") or die; \
                print IO::Socket::INET->new(PeerAddr => \"127.0.0.1:\" . $s->sockport) ? \"loop\\n\" : \"none\\n\"; \
                print IO::Socket::INET->new(PeerAddr => \"192.0.2.1:80\") ? \"out\\n\" : \"$!\\n\"'";
        let out = world.sh(&["--network", "none"], script);
        assert_eq!(out, "unknown\n0x9\nlo\n0\nloop\nNetwork is unreachable\n");
        assert_eq!(world.sh(&[], "ls /sys/class/net"), "lo\n", "it is what is usual");
    }
}

#[test]
fn the_hosts_network_is_the_hosts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for who in BOTH {
        let world = World::with_image(who);
        let script = format!(
            "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"127.0.0.1:{port}\") or die; print \"in\\n\"'; \
             cat /proc/net/route"
        );
        let out = world.sh(&["--network", "host"], &script);
        let routes = fs::read_to_string("/proc/net/route").unwrap();
        assert_eq!(out, format!("in\n{routes}"));
    }
}

#[test]
fn a_running_container_is_listed_and_cannot_be_removed() {
    let world = World::with_image(Who::User);
    let mut command = world.mica(&["run", "--rm", "--name", "busy", "-i", IMAGE, "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    until("it is listed", || world.do_mica(&["ps"]).contains("busy"));
    let said = world.try_mica(&["rm", "busy"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("running"), "{said:?}");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    world.assert_clear();
}
