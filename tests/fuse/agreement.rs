//! A mounted view and the oracle of the model agree.

use std::sync::Arc;

use crate::model::above::Above;
use crate::model::layers::{layers, stack};
use crate::model::mounted::{Mounted, Ours};
use crate::model::op::ops;
use crate::model::oracle::Oracle;
use crate::model::random;
use crate::model::view::Case;
use crate::view::{Alone, cannot_without_root};

/// Runs random cases, each of which mounts three times or so.
fn check(cases: u32, upper: impl Fn() -> Above) {
    if cannot_without_root() {
        return;
    }
    let _alone = Alone::new();
    random(cases, &(layers(), stack(), ops(25)), |(layers, stack, ops)| {
        let oracle = Oracle::new(stack.iter().map(|&at| &layers[at]), false);
        let mut mounted = Mounted::new(Ours::new(&layers, &stack, upper()));
        Case::new(oracle).run(&mut mounted, &ops);
        mounted.end();
    });
}

#[test]
fn a_mounted_view_of_layers_in_memory_agrees_with_the_oracle_after_every_operation() {
    check(200, || Above::Memory(Arc::default()));
}

#[test]
fn a_mounted_view_with_its_changes_on_disk_agrees_with_the_oracle_after_every_operation() {
    check(200, Above::on_disk);
}
