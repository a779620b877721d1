//! What several topics need: real peers, started and stopped.

pub(crate) mod registry;
pub(crate) mod trace;
