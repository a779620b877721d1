//! Debian's `docker-registry` on loopback, one for each test that wants one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A registry that lives as long as this value, with its contents.
pub(crate) struct Registry {
    addr: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
}

/// What the registry asks of those who talk to it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    /// Speak TLS with this certificate and key.
    pub(crate) tls: Option<(&'a Path, &'a Path)>,
    /// With TLS: talk only to those who show a certificate that this authority signed.
    pub(crate) client_ca: Option<&'a Path>,
    /// Ask for a login that this htpasswd file (bcrypt only) knows.
    pub(crate) htpasswd: Option<&'a Path>,
    /// Serve what another registry kept here, in place of a directory of its own.
    pub(crate) storage: Option<&'a Path>,
}

impl Registry {
    /// An empty registry that speaks plain HTTP and asks for no login.
    pub(crate) fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// An empty registry.
    pub(crate) fn start_with(setup: Setup<'_>) -> Self {
        // The port is free when it is chosen; another process may take it before the registry
        // does, which then ends at once.
        for _attempt in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let data = setup.storage.map_or_else(|| dir.path().join("data"), Path::to_owned);
            let addr = free_address();
            let config = dir.path().join("config.yml");
            fs::write(&config, config_text(addr, &data, setup)).unwrap();
            let log = fs::File::create(dir.path().join("log")).unwrap();
            let child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("docker-registry cannot be started: scripts/setup installs it");
            let mut registry = Self { addr, child, dir };
            if registry.answers() {
                return registry;
            }
        }
        panic!("docker-registry ended five times before it answered");
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The reference of `name` in this registry.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.addr)
    }

    /// Where the registry keeps its blobs.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Copies `image` of the OCI layout `layout` to `name` in this registry, as it is.
    pub(crate) fn push_layout(&self, layout: &Path, image: &str, name: &str) {
        let source = format!("oci:{}:{image}", layout.display());
        self.copy_from(&source, name, &["--preserve-digests"]);
    }

    /// Copies what skopeo calls `source` to `name` in this registry.
    pub(crate) fn copy_from(&self, source: &str, name: &str, options: &[&str]) {
        run(Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
            .args(options)
            .arg(source)
            .arg(format!("docker://{}", self.reference(name))));
    }

    /// Puts `body` at `path` below the address: a manifest that no tool would make.
    ///
    /// Plain HTTP only. Returns the status line.
    pub(crate) fn put(&self, path: &str, media_type: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        write!(
            stream,
            "PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.addr,
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.addr).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("docker-registry does not answer on {}", self.addr);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An OCI layout in `dir` with the image `name`: one layer for each of `files` (path in the image,
/// content), made by umoci.
pub(crate) fn make_layout(dir: &Path, name: &str, files: &[(&str, &[u8])]) {
    run(Command::new("umoci").arg("init").arg("--layout").arg(dir));
    let image = format!("{}:{name}", dir.display());
    run(Command::new("umoci").args(["new", "--image", &image]));
    let content = tempfile::tempdir().unwrap();
    let source = content.path().join("content");
    for (path, bytes) in files {
        fs::write(&source, bytes).unwrap();
        let mut insert = Command::new("umoci");
        run(insert.args(["insert", "--rootless", "--image", &image]).arg(&source).arg(path));
    }
    run(Command::new("umoci").args(["config", "--image", &image]).args([
        "--config.env",
        "GREETING=hello",
        "--config.cmd",
        "/bin/sh",
    ]));
}

/// Runs `command` and fails with what it said when it fails.
pub(crate) fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: scripts/setup installs it"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config_text(addr: SocketAddr, data: &Path, setup: Setup<'_>) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  \
         filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {addr}\n",
        data.display()
    );
    if let Some((certificate, key)) = setup.tls {
        text += &format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            certificate.display(),
            key.display()
        );
        if let Some(ca) = setup.client_ca {
            text += &format!("    clientcas:\n      - {}\n", ca.display());
        }
    }
    if let Some(htpasswd) = setup.htpasswd {
        text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", htpasswd.display());
    }
    text
}

/// The helper itself: others build on these promises.
mod tests {
    use super::{Registry, make_layout};

    #[test]
    fn an_image_that_was_pushed_is_in_the_registry() {
        let registry = Registry::start();
        let layout = tempfile::tempdir().unwrap();
        let dir = layout.path().join("layout");
        make_layout(&dir, "one", &[("/greeting", b"hello")]);
        registry.push_layout(&dir, "one", "group/app:1");
        let tags = registry
            .data()
            .join("docker/registry/v2/repositories/group/app/_manifests/tags/1/current/link");
        assert!(tags.exists(), "{}", tags.display());
        assert!(registry.addr().ip().is_loopback());
    }

    #[test]
    fn what_is_put_by_hand_is_judged_by_the_registry() {
        let status = Registry::start().put("/v2/app/manifests/1", "application/json", b"{");
        assert!(status.starts_with("HTTP/1.1 400"), "{status}");
    }
}
