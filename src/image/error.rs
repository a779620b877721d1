//! Why a verb could not be done.

use std::io;
use std::path::PathBuf;

use crate::oci::{DiffId, Digest, DocumentError, ReferenceError};
use crate::registry::{self, TlsFault};
use crate::{fuse, layer, run, store, sys, tree, upper};

/// Containers, for a sentence.
fn users(ids: &[String]) -> String {
    match ids {
        [one] => format!("the container {one}"),
        several => format!("the containers {}", several.join(", ")),
    }
}

/// Why a verb could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is no reference.
    #[error("\"{text}\" is not the name of an image")]
    Reference {
        /// The text.
        text: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// The store has no such image.
    #[error("there is no image \"{text}\" in the store")]
    NotFound {
        /// What was looked for.
        text: String,
        /// Names in the store that are like it.
        near: Vec<String>,
    },
    /// Several images are meant.
    #[error("\"{text}\" can be any of {}", .found.join(", "))]
    Ambiguous {
        /// What was looked for.
        text: String,
        /// What was found.
        found: Vec<String>,
    },
    /// A manifest or a config is not what it must be.
    #[error("{digest} is no manifest or config of an image")]
    Document {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// A name that is to be given has a digest, which cannot be given.
    #[error("\"{0}\" has a digest: a tag is needed")]
    TagWithDigest(String),
    /// Containers need the image.
    #[error("\"{text}\" is used by {}", users(.containers))]
    InUse {
        /// The image.
        text: String,
        /// The ids of the containers.
        containers: Vec<String>,
    },
    /// An ID stands for an image of several names.
    #[error("\"{text}\" has several names: {}", .names.join(", "))]
    SeveralNames {
        /// The ID.
        text: String,
        /// The names.
        names: Vec<String>,
    },
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A layer is what was named, but cannot be read.
    #[error("the layer {digest} cannot be used")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<layer::Error>,
    },
    /// A layer is what the manifest names, but not what the config says.
    #[error("the layer {layer} holds the archive {found}, not {expected}")]
    DiffId {
        /// The layer's blob.
        layer: Digest,
        /// What the config says.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// A layer is no longer wanted, since another one failed.
    #[error("another layer failed")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The layers give no view.
    #[error("the layers of the image cannot be shown together")]
    View(#[source] tree::Error),
    /// The directories for what is written cannot be used.
    #[error("the upper directory {} cannot be used", .path.display())]
    Upper {
        /// The upper directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: upper::Error,
    },
    /// A directory cannot be made or found.
    #[error("the directory {} cannot be used", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The view cannot be mounted, served or unmounted.
    #[error(transparent)]
    Mount(#[from] fuse::Error),
    /// There is nothing of mica's to unmount.
    #[error("mica has mounted nothing on {}", .0.display())]
    NotMounted(PathBuf),
    /// The process that was to serve a mount died; how.
    #[error("the process that was to serve the mount died ({0})")]
    Died(String),
    /// A container did not run.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// There is no such container.
    #[error("there is no container \"{0}\"")]
    NoContainer(String),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// The result of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// What a person can do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such image in the store; these names are like it.
    NotFound {
        /// Names in the store.
        near: Vec<String>,
    },
    /// Several images are meant.
    Ambiguous,
    /// There is no such container.
    NoContainer,
    /// A container has that name.
    NameInUse {
        /// The name.
        name: String,
    },
    /// The device of FUSE cannot be opened.
    NoDevice,
    /// The helper that mounts for users is not there.
    NoHelper,
    /// Containers need the image.
    InUse,
    /// An ID stands for several names.
    SeveralNames,
    /// The disk is full.
    DiskFull,
    /// The store belongs to someone else.
    NoPermission,
    /// What is stored is damaged.
    Damaged,
    /// The registry has no such image.
    NotInRegistry,
    /// The registry wants a login, or another one.
    Login,
    /// The registry asks to come back later.
    RateLimited,
    /// The registry speaks plain HTTP.
    PlainHttp {
        /// Host and port.
        host: String,
    },
    /// The certificate of the registry is not known here.
    Certificate {
        /// Host and port.
        host: String,
        /// Whether it is that of an authority, as `openssl req -x509` makes them.
        authority: bool,
    },
    /// The registry cannot be reached.
    Unreachable {
        /// Host and port.
        host: String,
    },
    /// The image is not made for the platform.
    NoPlatform,
    /// There is no directory to mount on.
    Mountpoint,
    /// The mount is in use.
    MountInUse,
    /// There is nothing to unmount.
    NotMounted,
}

impl Error {
    /// The code to end the program with: 126 and 127 for a command that cannot be executed or is
    /// not there, else 125.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            _ => 125,
        }
    }

    /// What a person can do something about, if anything.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::NotFound { near, .. } => Some(Trouble::NotFound { near: near.clone() }),
            Self::Ambiguous { .. } => Some(Trouble::Ambiguous),
            Self::InUse { .. } => Some(Trouble::InUse),
            Self::SeveralNames { .. } => Some(Trouble::SeveralNames),
            Self::Store(store::Error::Damaged { .. } | store::Error::Missing(_)) => {
                Some(Trouble::Damaged)
            }
            Self::NoContainer(_) => Some(Trouble::NoContainer),
            Self::Run(run::Error::NameInUse { name, .. }) => {
                Some(Trouble::NameInUse { name: name.clone() })
            }
            Self::Mount(fuse::Error::Device { .. }) => Some(Trouble::NoDevice),
            Self::Mount(fuse::Error::Helper { .. }) => Some(Trouble::NoHelper),
            Self::Registry(error) => registry_trouble(error),
            Self::NotMounted(_) => Some(Trouble::NotMounted),
            Self::Mount(fuse::Error::Mountpoint { .. }) => Some(Trouble::Mountpoint),
            Self::Mount(error) if error.is_busy() => Some(Trouble::MountInUse),
            _ => match io_trouble(self) {
                // What helps is another store: of no use where something else is forbidden.
                Some(Trouble::NoPermission) if !matches!(self, Self::Store(_)) => None,
                trouble => trouble,
            },
        }
    }
}

fn registry_trouble(error: &registry::Error) -> Option<Trouble> {
    use registry::Error;
    Some(match error {
        Error::NotFound { .. } => Trouble::NotInRegistry,
        Error::Unauthorized { .. } | Error::Denied { .. } => Trouble::Login,
        Error::RateLimited { .. } => Trouble::RateLimited,
        Error::PlainHttp { host } => Trouble::PlainHttp { host: host.clone() },
        Error::Tls { host, fault: TlsFault::CaUsedAsEndEntity } => {
            Trouble::Certificate { host: host.clone(), authority: true }
        }
        Error::Tls { host, fault: TlsFault::UnknownIssuer } => {
            Trouble::Certificate { host: host.clone(), authority: false }
        }
        Error::Connect { host, .. } => Trouble::Unreachable { host: host.clone() },
        Error::NoPlatform { .. } => Trouble::NoPlatform,
        _ => return None,
    })
}

/// What an error of the operating system, anywhere in the chain, says.
fn io_trouble(error: &(dyn std::error::Error + 'static)) -> Option<Trouble> {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let kinds = chain.filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    for kind in kinds {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                return Some(Trouble::DiskFull);
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                return Some(Trouble::NoPermission);
            }
            _ => {}
        }
    }
    None
}
