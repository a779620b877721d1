//! Capabilities of this thread (capabilities(7)).

use std::collections::HashSet;

use caps::{CapSet, CapsHashSet};

pub use caps::Capability;

use super::{Error, Result};

/// The capability that a person calls `name`: as in capabilities(7), in any case, with or without
/// `CAP_` in front.
#[must_use]
pub fn by_name(name: &str) -> Option<Capability> {
    let name = name.to_ascii_uppercase();
    let full = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    full.parse().ok()
}

/// All capabilities that the kernel has.
#[must_use]
pub fn all() -> Vec<Capability> {
    let mut all: Vec<_> = caps::runtime::thread_all_supported().into_iter().collect();
    all.sort_unstable_by_key(Capability::index);
    all
}

/// Makes `keep` the most that this thread, and whatever it executes, can ever have again.
pub fn bound(keep: &[Capability]) -> Result<()> {
    for capability in all() {
        if !keep.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)
                .map_err(|e| failed("prctl", &format!("PR_CAPBSET_DROP, {capability}"), &e))?;
        }
    }
    Ok(())
}

/// Gives up every capability that is not in `keep`; none is inherited.
pub fn limit(keep: &[Capability]) -> Result<()> {
    let mut keep: CapsHashSet = keep.iter().copied().collect();
    let have = caps::read(None, CapSet::Permitted).map_err(|e| failed("capget", "", &e))?;
    keep.retain(|capability| have.contains(capability));
    let sets = [
        (CapSet::Ambient, &HashSet::new()),
        (CapSet::Inheritable, &HashSet::new()),
        (CapSet::Effective, &keep),
        (CapSet::Permitted, &keep),
    ];
    for (set, capabilities) in sets {
        caps::set(None, set, capabilities)
            .map_err(|e| failed("capset", &format!("{set:?}"), &e))?;
    }
    Ok(())
}

fn failed(call: &'static str, args: &str, why: &caps::errors::CapsError) -> Error {
    // The library gives a text only; the one reason there is is a missing privilege.
    Error::new(call, format!("{args}: {why}"), libc::EPERM)
}
