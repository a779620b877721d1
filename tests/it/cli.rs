//! The command line, as a person meets it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use mica::image::{Quiet, Remote, Store, parse};
use mica::registry::{Client, Options};
use mica::testing::tar::Tar;
use mica::testing::transport::MemTransport;

/// Runs mica in `home`, with the store `store` there.
fn mica(home: &Path, arguments: &[&str]) -> Output {
    mica_with(home, arguments, |command| {
        command.env("MICA_ROOT", "store");
    })
}

fn mica_with(home: &Path, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mica"));
    command.args(arguments).current_dir(home).stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin");
    prepare(&mut command);
    command.output().unwrap()
}

/// What happened: code, stdout and stderr, with what differs from run to run replaced.
fn told(home: &Path, output: &Output) -> String {
    let home = home.canonicalize().unwrap();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(home.to_str().unwrap(), "[HOME]")
    };
    let code = output.status.code().unwrap();
    format!("{}{}[{code}]", text(&output.stdout), text(&output.stderr))
}

/// Runs mica and says what happened.
fn tell(home: &Path, arguments: &[&str]) -> String {
    told(home, &mica(home, arguments))
}

/// A directory with a store that has an image of two names.
fn with_image() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store")).unwrap();
    let registry = MemTransport::new();
    let (base, app) = (Tar::new().dir("etc").bytes(), Tar::new().file("app", "x").bytes());
    registry.put_image("1", ("linux", "amd64"), &[&base, &app]);
    let client = Client::with_transport(Box::new(registry), Options::default());
    let remote = Remote::with_client(client, Some("linux/amd64".parse().unwrap()));
    for name in ["registry.example:5000/team/app:1", "debian:1"] {
        mica::image::pull(&store, &remote, &parse(name).unwrap(), &Quiet).unwrap();
    }
    home
}

#[test]
fn help_lists_the_commands_with_examples() {
    let home = tempfile::tempdir().unwrap();
    assert_snapshot!(tell(home.path(), &["pull", "--help"]), @r"
    Fetch images from a registry

    Usage: mica pull [OPTIONS] <IMAGE>...

    Arguments:
      <IMAGE>...  Names: [HOST[:PORT]/]PATH[:TAG][@DIGEST]

    Options:
      -q, --quiet                Only the ID on stdout, and nothing on stderr
          --platform <PLATFORM>  The platform of the image: OS/ARCHITECTURE[/VARIANT] [default:
                                 this machine's]
          --tls-verify[=<BOOL>]  Whether the registry must speak TLS with a certificate that is
                                 known here [default: true]
      -h, --help                 Print help

    Global options:
          --root <DIR>         Where images and containers are kept [default: $MICA_ROOT, or
                               /var/lib/mica for root, or $XDG_DATA_HOME/mica]
          --log-level <LEVEL>  How much to say on stderr [default: warn]
          --progress <HOW>     How to show progress: auto, plain, json or none [default: auto]

    Examples:
      mica pull debian:12
      mica pull --platform linux/arm64 docker.io/library/debian:12
      mica pull --tls-verify=false registry.lan:5000/team/app:1
      mica pull debian@sha256:36e591f228bb9b99348f584e83f16e012c33ba5cad44ef5981a1d7c0a93eca22

    Layers stay as they are in the registry: nothing is unpacked.
    [0]
    ");
}

#[test]
fn every_command_has_a_help_with_examples_that_name_it() {
    let home = tempfile::tempdir().unwrap();
    let commands = |arguments: &[&str]| -> Vec<String> {
        let output = mica(home.path(), &[arguments, &["--help"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let list = text.split("Commands:\n").nth(1).unwrap_or_default();
        let lines = list.lines().take_while(|line| !line.is_empty());
        lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    };
    let mut all = commands(&[]);
    assert!(all.len() > 8, "{all:?}");
    all.extend(commands(&["image"]).iter().map(|command| format!("image {command}")));
    all.push("man".to_owned());
    for command in all {
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let output = mica(home.path(), &words);
        let text = String::from_utf8(output.stdout).unwrap();
        let examples = text.split("Examples:\n").nth(1).unwrap_or_default();
        assert!(output.status.success() && examples.contains("  mica "), "{command}: {text}");
    }
}

#[test]
fn a_mistake_names_what_is_near_and_ends_with_125() {
    let home = tempfile::tempdir().unwrap();
    assert_snapshot!(tell(home.path(), &["imags"]), @r"
    error: unrecognized subcommand 'imags'

      tip: some similar subcommands exist: 'image', 'images'

    Usage: mica [OPTIONS] <COMMAND>

    For more information, try '--help'.
    [125]
    ");
    assert_snapshot!(tell(home.path(), &["images", "--frmat", "json"]), @r"
    error: unexpected argument '--frmat' found

      tip: a similar argument exists: '--format'

    Usage: mica images --format <FORMAT> [NAME]

    For more information, try '--help'.
    [125]
    ");
}

#[test]
fn images_are_listed_in_podmans_columns() {
    let home = with_image();
    assert_snapshot!(tell(home.path(), &["images"]), @r"
    REPOSITORY                      TAG         IMAGE ID      CREATED     SIZE
    docker.io/library/debian        1           03a9c93de167  N/A         3.81 kB
    registry.example:5000/team/app  1           03a9c93de167  N/A         3.81 kB
    [0]
    ");
    assert_snapshot!(tell(home.path(), &["images", "-q"]), @r"
    03a9c93de167
    [0]
    ");
    let list = |arguments: &[&str]| tell(home.path(), &[&["images"], arguments].concat());
    for filter in ["*/team/app", "team/app:?", "registry.example:5000/*/app:1"] {
        let text = list(&["--filter", &format!("reference={filter}")]);
        assert!(text.contains("team/app") && !text.contains("debian"), "{filter}: {text}");
    }
    assert!(list(&["debian"]).contains("debian") && !list(&["debian"]).contains("team/app"));
    assert_eq!(list(&["debian:2"]).lines().count(), 2, "head and code");
    assert!(list(&["--digests", "--no-trunc"]).matches("sha256:").count() == 4);
    let json = mica(home.path(), &["images", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["Names"][0], "docker.io/library/debian:1");
    assert_eq!(json[0]["Tag"], "1");
    assert_snapshot!(list(&["--filter", "dangling=true"]), @r#"
    error: there is no filter "dangling=true"
    hint: filter by name: --filter reference=PATTERN
    [125]
    "#);
}

#[test]
fn an_empty_store_has_an_empty_table() {
    let home = tempfile::tempdir().unwrap();
    assert_snapshot!(tell(home.path(), &["images"]), @r"
    REPOSITORY  TAG         IMAGE ID    CREATED     SIZE
    [0]
    ");
}

#[test]
fn history_and_inspect_show_what_is_known() {
    let home = with_image();
    assert_snapshot!(tell(home.path(), &["history", "debian:1"]), @r"
    ID            CREATED     CREATED BY  SIZE        COMMENT
    03a9c93de167  N/A                     2.05 kB
    <missing>     N/A                     1.54 kB
    [0]
    ");
    let json = mica(home.path(), &["inspect", "debian:1"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["Os"], "linux");
    assert_eq!(json[0]["RepoTags"].as_array().unwrap().len(), 2);
    assert_snapshot!(tell(home.path(), &["inspect", "debian:2"]), @r#"
    error: cannot inspect debian:2
    cause: there is no image "debian:2" in the store
    hint: did you mean docker.io/library/debian:1?
    [125]
    "#);
}

#[test]
fn removing_says_what_is_gone_and_ends_with_1_when_there_was_nothing() {
    let home = with_image();
    assert_snapshot!(tell(home.path(), &["rmi", "03a9"]), @r#"
    error: cannot remove 03a9
    cause: "03a9" has several names: docker.io/library/debian:1, registry.example:5000/team/app:1
    hint: name one of them, or use --force to remove all
    [125]
    "#);
    assert_snapshot!(tell(home.path(), &["rmi", "debian:1", "nothing"]), @r#"
    Untagged: docker.io/library/debian:1
    error: cannot remove nothing
    cause: there is no image "nothing" in the store
    hint: `mica images` lists what is there; `mica pull` fetches more
    [1]
    "#);
    let text = tell(home.path(), &["image", "rm", "app:1"]);
    let digits = text.split_once("sha256:").unwrap().1.split_at(64).0;
    assert!(digits.starts_with("03a9c93de167"), "{text}");
    assert_snapshot!(text.replace(digits, "[ID]"), @r"
    Untagged: registry.example:5000/team/app:1
    Deleted: sha256:[ID]
    [0]
    ");
}

#[test]
fn pruning_asks_unless_it_is_forced() {
    let home = with_image();
    assert_snapshot!(tell(home.path(), &["image", "prune", "-a"]), @r"
    error: there is nobody to ask whether images may be removed
    hint: use --force to remove them without asking
    [125]
    ");
    let text = tell(home.path(), &["image", "prune", "-a", "-f"]);
    assert!(text.contains("Untagged: docker.io/library/debian:1\n"), "{text}");
    assert!(text.contains("Total reclaimed space: ") && text.ends_with("[0]"), "{text}");
    assert_eq!(tell(home.path(), &["images", "-q"]), "[0]");
}

#[test]
fn a_registry_that_is_not_there_and_a_bad_name_have_a_cause_and_a_hint() {
    let home = tempfile::tempdir().unwrap();
    assert_snapshot!(tell(home.path(), &["pull", "127.0.0.1:1/app"]), @r"
    error: cannot pull 127.0.0.1:1/app
    cause: cannot connect to 127.0.0.1:1
    cause: Connection refused (os error 111)
    hint: check that 127.0.0.1:1 is right and that a registry is running there
    [125]
    ");
    assert_snapshot!(tell(home.path(), &["pull", "UPPER"]), @r#"
    error: cannot pull UPPER
    cause: "UPPER" is not the name of an image
    cause: the image name "library/UPPER" has upper-case letters
    [125]
    "#);
}

#[test]
fn what_follows_the_image_is_never_an_option_of_mica() {
    let home = tempfile::tempdir().unwrap();
    for word in ["--help", "--root=elsewhere", "-it", "--rm", "--", "--frob"] {
        let text = tell(home.path(), &["run", "--pull=never", "nothing:1", word]);
        assert!(text.starts_with("error: cannot get the image nothing:1\n"), "{word}: {text}");
    }
    assert!(!home.path().join("elsewhere").exists());
    let text = tell(home.path(), &["run", "--frob", "nothing:1"]);
    assert!(text.contains("unexpected argument '--frob'"), "{text}");
}

#[test]
fn removing_containers_goes_on_after_one_that_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    assert_snapshot!(tell(home.path(), &["rm", "one", "two"]), @r#"
    error: cannot remove the container one
    cause: there is no container "one"
    hint: `mica ps -a` lists what is there
    error: cannot remove the container two
    cause: there is no container "two"
    hint: `mica ps -a` lists what is there
    [1]
    "#);
}

#[test]
fn what_a_terminal_would_obey_is_shown_instead() {
    let home = tempfile::tempdir().unwrap();
    let text = tell(home.path(), &["rm", "a\u{1b}[2Jb\u{9b}c\nhint: d"]);
    assert_snapshot!(text, @r#"
    error: cannot remove the container a\u{1b}[2Jb\u{9b}c\nhint: d
    cause: there is no container "a\u{1b}[2Jb\u{9b}c\nhint: d"
    hint: `mica ps -a` lists what is there
    [1]
    "#);
}

#[test]
fn the_options_of_a_tmpfs_are_those_of_docker_and_no_part_of_its_path() {
    let home = tempfile::tempdir().unwrap();
    let run = |tmpfs: &str| tell(home.path(), &["run", "--pull=never", "--tmpfs", tmpfs, "a:1"]);
    for known in ["/tmp", "/tmp:size=64m,mode=0700", "/tmp:rw,exec,nosuid,nodev", "/tmp:ro"] {
        assert!(run(known).starts_with("error: cannot get the image a:1\n"), "{known}");
    }
    assert_snapshot!(run("/tmp:size=1q"), @r#"
    error: cannot mount the tmpfs /tmp:size=1q
    cause: tmpfs option "size=1q": known are size=BYTES[k|m|g|%], mode=OCTAL, ro, rw, [no]exec, nosuid, nodev
    [125]
    "#);
    for bad in ["tmp", "/tmp:size=", "/tmp:mode=9", "/tmp:mode=17777", "/tmp:dev", "/tmp:a:b"] {
        assert!(run(bad).starts_with("error: cannot mount the tmpfs "), "{bad}");
    }
}

#[test]
fn the_root_is_what_the_option_the_variable_or_the_home_says() {
    let home = tempfile::tempdir().unwrap();
    let tried = |arguments: &[&str], variables: &[(&str, &str)]| {
        mica_with(home.path(), arguments, |command| {
            command.envs(variables.iter().copied());
        })
    };
    for (arguments, variables, root) in [
        (&["--root", "by-option", "images"][..], &[("MICA_ROOT", "by-variable")][..], "by-option"),
        (&["images", "--root", "behind"], &[], "behind"),
        (&["images"], &[("MICA_ROOT", "by-variable")], "by-variable"),
    ] {
        let output = tried(arguments, variables);
        assert!(output.status.success(), "{output:?}");
        assert!(home.path().join(root).join("version").exists(), "{root}");
    }
}

#[test]
fn a_directory_that_is_no_store_is_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("store")).unwrap();
    std::fs::write(home.path().join("store/thesis.txt"), "x").unwrap();
    assert_snapshot!(tell(home.path(), &["images"]), @r"
    error: cannot open the store store
    cause: [HOME]/store is not a mica store: it is not empty and has no file `version`
    [125]
    ");
    std::fs::write(home.path().join("store/version"), "mica-store 7\n").unwrap();
    assert_snapshot!(tell(home.path(), &["images"]), @r#"
    error: cannot open the store store
    cause: the store [HOME]/store is of version "7"; this mica reads version 1
    [125]
    "#);
}

#[test]
fn a_full_disk_is_said_with_what_helps() {
    let home = with_image();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=ENOSPC"]);
    command.arg(env!("CARGO_BIN_EXE_mica")).args(["--root", "store", "tag", "debian:1", "a:1"]);
    let output = command.current_dir(home.path()).output().expect("strace must be installed");
    let text = told(home.path(), &output);
    let text = text.split("/tmp/").next().unwrap().to_owned()
        + text.split_once('\n').unwrap().1.split_once('\n').unwrap().1;
    assert_snapshot!(text, @r"
    error: cannot give debian:1 the name a:1
    cause: cannot sync [HOME]/storecause: No space left on device (os error 28)
    hint: free some space, for example with `mica image prune -a`
    [125]
    ");
}

#[test]
fn who_closes_the_pipe_is_not_told_of_an_error() {
    let home = with_image();
    let script = format!("{} images | true; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_mica"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("MICA_ROOT", home.path().join("store"))
        .output()
        .unwrap();
    assert_eq!(output.stderr, b"");
    let code = String::from_utf8(output.stdout).unwrap();
    assert!(["141\n", "0\n"].contains(&code.as_str()), "{code}");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let home = tempfile::tempdir().unwrap();
    for (shell, mark) in
        [("bash", "_mica()"), ("zsh", "#compdef mica"), ("fish", "complete -c mica")]
    {
        let text = tell(home.path(), &["completions", shell]);
        assert!(text.contains(mark) && text.ends_with("[0]"), "{shell}");
    }
    assert_eq!(tell(home.path(), &["man", "."]), "[0]");
    let page = std::fs::read_to_string(home.path().join("mica-pull.1")).unwrap();
    assert!(page.contains("Fetch images from a registry"), "{page}");
    assert!(tell(home.path(), &["man", "no/such"]).ends_with("[125]"));
}
