//! What a container is to be, from the image's configuration and the caller's wishes.

use std::ffi::OsString;
use std::path::PathBuf;

use mica::oci::RunConfig;
use mica::run::state::{Containers, New};
use mica::run::{
    Capabilities, Capability, Error, Exit, IdMaps, Mount, Overrides, Spec, User, capability,
    from_config,
};

fn image() -> RunConfig {
    RunConfig {
        user: "www-data".to_owned(),
        env: vec!["PATH=/opt/bin".to_owned(), "A=image".to_owned(), "EMPTY".to_owned()],
        entrypoint: vec!["/entry".to_owned(), "-x".to_owned()],
        cmd: vec!["default".to_owned()],
        working_dir: "/srv".to_owned(),
        ..RunConfig::default()
    }
}

fn spec(wanted: Overrides) -> mica::run::Result<Spec> {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    from_config(&image(), wanted, id, IdMaps::Host, PathBuf::from("/containers/x"))
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

#[test]
fn arguments_replace_the_images_command_but_not_its_entrypoint() {
    let args = |wanted| spec(wanted).unwrap().args;
    assert_eq!(args(Overrides::default()), words("/entry -x default"));
    let given = || words("a b");
    assert_eq!(args(Overrides { args: given(), ..Overrides::default() }), words("/entry -x a b"));
    let entrypoint = || Some(words("/other"));
    let alone = Overrides { entrypoint: entrypoint(), ..Overrides::default() };
    assert_eq!(args(alone), words("/other"));
    let both = Overrides { entrypoint: entrypoint(), args: given(), ..Overrides::default() };
    assert_eq!(args(both), words("/other a b"));
    let none = Overrides { entrypoint: Some(Vec::new()), args: given(), ..Overrides::default() };
    assert_eq!(args(none), words("a b"));
}

#[test]
fn without_a_command_there_is_nothing_to_run() {
    let none = Overrides { entrypoint: Some(Vec::new()), ..Overrides::default() };
    assert!(matches!(spec(none), Err(Error::NoCommand)));
    let empty = Overrides { entrypoint: Some(vec![OsString::new()]), ..Overrides::default() };
    assert!(matches!(spec(empty), Err(Error::NoCommand)));
}

fn env(wanted: Overrides) -> String {
    let show = |(name, value): &(OsString, OsString)| {
        format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap())
    };
    spec(wanted).unwrap().env.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn later_settings_of_a_variable_win_and_keep_its_place() {
    let plain = env(Overrides::default());
    assert_eq!(plain, "PATH=/opt/bin HOSTNAME=0123456789ab container=mica A=image EMPTY=");
    let wanted = Overrides {
        env: vec![
            ("A".into(), Some("caller".into())),
            ("B".into(), Some("x=y".into())),
            ("B".into(), Some("z".into())),
            ("EMPTY".into(), None),
            ("container".into(), Some("other".into())),
        ],
        terminal: true,
        hostname: Some("box".to_owned()),
        ..Overrides::default()
    };
    let expected = "PATH=/opt/bin HOSTNAME=box TERM=xterm container=other A=caller B=z";
    assert_eq!(env(wanted), expected);
}

#[test]
fn what_no_process_can_be_given_is_refused() {
    let refused = |wanted| assert!(matches!(spec(wanted), Err(Error::Invalid { .. })));
    for name in ["", "A=B", "A\0"] {
        let env = vec![(name.into(), Some("x".into()))];
        refused(Overrides { env, ..Overrides::default() });
    }
    refused(Overrides { env: vec![("A".into(), Some("\0".into()))], ..Overrides::default() });
    refused(Overrides { args: vec!["a\0b".into()], ..Overrides::default() });
    refused(Overrides { cwd: Some("relative".into()), ..Overrides::default() });
    refused(Overrides { user: Some("a:b:c".to_owned()), ..Overrides::default() });
    for hostname in [String::new(), "a b".to_owned(), "x".repeat(65)] {
        refused(Overrides { hostname: Some(hostname), ..Overrides::default() });
    }
}

#[test]
fn the_images_user_and_directory_hold_unless_others_are_given() {
    let plain = spec(Overrides::default()).unwrap();
    assert_eq!((plain.user, plain.cwd), ("www-data".parse().unwrap(), PathBuf::from("/srv")));
    let wanted =
        Overrides { user: Some("1:2".to_owned()), cwd: Some("/w".into()), ..Overrides::default() };
    let other = spec(wanted).unwrap();
    assert_eq!((other.user, other.cwd), ("1:2".parse().unwrap(), PathBuf::from("/w")));
    let id = "0123456789abcdef";
    let bare = RunConfig { cmd: vec!["sh".to_owned()], ..RunConfig::default() };
    let bare = from_config(&bare, Overrides::default(), id, IdMaps::Host, "/x".into()).unwrap();
    assert_eq!((bare.user, bare.cwd), (User::default(), PathBuf::from("/")));
}

#[test]
fn capabilities_are_added_and_dropped_by_name() {
    assert_eq!(capability("net_admin"), Some(Capability::CAP_NET_ADMIN));
    assert_eq!(capability("CAP_KILL"), Some(Capability::CAP_KILL));
    assert_eq!(capability("nonsense"), None);
    let usual = spec(Overrides::default()).unwrap().capabilities;
    assert_eq!(usual.len(), 14);
    assert!(!usual.contains(&Capability::CAP_SYS_ADMIN));
    let named = |named: &[_]| Capabilities { all: false, named: named.to_vec() };
    let wanted = Overrides {
        add_capabilities: named(&[Capability::CAP_NET_ADMIN, Capability::CAP_CHOWN]),
        drop_capabilities: named(&[Capability::CAP_KILL]),
        ..Overrides::default()
    };
    let other = spec(wanted).unwrap().capabilities;
    assert_eq!(other.len(), 14);
    assert!(other.contains(&Capability::CAP_NET_ADMIN) && !other.contains(&Capability::CAP_KILL));
}

#[test]
fn binds_are_read_as_source_target_and_mode() {
    let bind = |read_only| Mount::Bind { source: "/a".into(), target: "/b".into(), read_only };
    assert_eq!("/a:/b".parse::<Mount>().unwrap(), bind(false));
    assert_eq!("/a:/b:rw".parse::<Mount>().unwrap(), bind(false));
    assert_eq!("/a:/b:ro".parse::<Mount>().unwrap(), bind(true));
    for text in ["", "/a", "/a:/b:x", "/a:/b:ro:ro", "a:/b", "/a:b", "/a:/", "/a:/proc/x", "/a:"] {
        assert!(text.parse::<Mount>().is_err(), "{text}");
    }
}

#[test]
fn a_container_that_is_being_removed_is_left_to_who_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::open(dir.path().join("containers")).unwrap();
    let id = containers.new_id().unwrap();
    let container = containers
        .create(New {
            id: id.clone(),
            name: None,
            image: "sha256:305c82d4afa0e4263fbdf962f194b7e695511bbd095628fa4fec735df964aa31"
                .parse()
                .unwrap(),
            reference: "debian:12".to_owned(),
            command: vec!["true".to_owned()],
            remove: true,
            ids: IdMaps::Host,
        })
        .unwrap();
    // As its supervisor does at the end, before the launching process removes what is left.
    for entry in std::fs::read_dir(containers.dir_of(&id)).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(containers.sweep().unwrap(), 0);
    assert!(containers.dir_of(&id).is_dir());
    container.ended(Exit::Code(0)).unwrap();
    assert!(!containers.dir_of(&id).exists());
}
