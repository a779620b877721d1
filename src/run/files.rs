//! The three files of `/etc` that say where a container is: kept in its directory on the host, so
//! that the image is not changed, and bound into place.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::error::Doing as _;
use super::{Network, Result, Spec};

/// Names of the files, in the container's directory and in `/etc`.
pub(super) const NAMES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// The most bytes of a file of the host that is handed on.
const MAX_FILE: u64 = 1 << 16;

/// Writes the files into the container's directory.
pub(super) fn write(spec: &Spec) -> Result<()> {
    for name in NAMES {
        let content = match name {
            "hostname" => format!("{}\n", spec.hostname).into_bytes(),
            "hosts" => hosts(spec)?,
            _ => of_host("/etc/resolv.conf")?,
        };
        let path = spec.dir.join(name);
        fs::write(&path, content).doing(format!("write {}", path.display()))?;
    }
    Ok(())
}

fn hosts(spec: &Spec) -> Result<Vec<u8>> {
    let mut hosts = match spec.network {
        Network::Host => of_host("/etc/hosts")?,
        Network::None => b"127.0.0.1\tlocalhost\n\
            ::1\tlocalhost ip6-localhost ip6-loopback\n"
            .to_vec(),
    };
    if hosts.last().is_some_and(|&last| last != b'\n') {
        hosts.push(b'\n');
    }
    hosts.extend(format!("127.0.0.1\t{}\n", spec.hostname).bytes());
    Ok(hosts)
}

fn of_host(path: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    match fs::File::open(Path::new(path)) {
        Ok(file) => {
            file.take(MAX_FILE).read_to_end(&mut content).doing(format!("read {path}"))?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).doing(format!("read {path}")),
    }
    Ok(content)
}
