//! `mica check`: is what is stored what its name says?

use crate::store::{Report, Store};

use super::Result;

/// Reads all blobs of the store again and follows all names. What is damaged is reported, and not
/// an error.
///
/// # Errors
/// [`super::Error::Store`] when the store cannot be listed.
pub fn check(store: &Store) -> Result<Report> {
    // So that nothing goes away meanwhile.
    let session = store.enter()?;
    Ok(session.check()?)
}
