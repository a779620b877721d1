//! `mount.mica`: translates the mount(8) helper convention into a call of `mica mount`.
#![forbid(unsafe_code)]

fn main() {}
