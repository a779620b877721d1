//! The model, for a real mount: its layers and operations, carried out by system calls and
//! compared with the same oracle.

#[path = "../../it/model/above.rs"]
pub(crate) mod above;
pub(crate) mod calls;
pub(crate) mod disk;
#[path = "../../it/model/layers.rs"]
pub(crate) mod layers;
#[path = "../../it/model/mem_layer.rs"]
mod mem_layer;
pub(crate) mod mounted;
#[path = "../../it/model/moves.rs"]
mod moves;
#[path = "../../it/model/op.rs"]
pub(crate) mod op;
#[path = "../../it/model/oracle.rs"]
pub(crate) mod oracle;
#[path = "../../it/model/unpack.rs"]
mod unpack;
#[path = "../../it/model/view.rs"]
pub(crate) mod view;

use std::fmt::Debug;

use proptest::prelude::Strategy;
use proptest::test_runner::{Config, TestRunner};

/// Runs `case` for so many random values, or for as many as `PROPTEST_CASES` says.
pub(crate) fn random<S: Strategy>(cases: u32, values: &S, case: impl Fn(S::Value))
where
    S::Value: Debug,
{
    // Files are made with the permissions that are asked for, also by what serves a mount.
    mica::sys::daemon::clear_umask();
    calls::keep_capabilities();
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked_for { Config::default().cases } else { cases };
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let result = TestRunner::new(config).run(values, |value| {
        case(value);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
