//! What `docs/SEMANTICS.md` says of the merged view, one test for each statement that the model
//! test does not make.

mod access;
mod identity;
mod implied;
mod support;
mod threads;
