//! The layers that a case writes to.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use mica::testing::mem::MemUpper;
use mica::tree::Upper;
use mica::upper::{UpperDir, UpperOptions};
use tempfile::TempDir;

/// The layer that is written to.
#[derive(Debug)]
pub(crate) enum Above {
    /// None: the view is read-only.
    Nothing,
    Memory(Arc<MemUpper>),
    /// In a directory, and the work directory beside it.
    Disk(TempDir),
}

impl Above {
    /// A new one on disk.
    pub(crate) fn on_disk() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["upper", "work"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).expect(name);
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect(name);
        }
        Self::Disk(dir)
    }

    pub(crate) fn open(&self) -> Option<Arc<dyn Upper>> {
        match self {
            Self::Nothing => None,
            Self::Memory(upper) => Some(Arc::clone(upper) as _),
            Self::Disk(dir) => {
                let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
                let options = UpperOptions { volatile: true, ..UpperOptions::default() };
                Some(Arc::new(UpperDir::open(&upper, &work, &options).expect("open")))
            }
        }
    }

    pub(crate) fn memory(&self) -> Option<Arc<MemUpper>> {
        match self {
            Self::Memory(upper) => Some(Arc::clone(upper)),
            Self::Nothing | Self::Disk(_) => None,
        }
    }
}
