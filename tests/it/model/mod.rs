//! The model test: the union over layers in memory agrees with an oracle that knows no layers.
//!
//! A case is some lower layers and a sequence of operations. The [`oracle`] unpacks the layers
//! onto one another as the image specification says and then works on a plain tree. After every
//! operation the error number and the whole tree are compared, and what the upper layer holds is
//! checked: nothing it need not.
//!
//! [`layers`], [`op`], [`oracle`] and [`view`] do not know the union, and serve to run the same
//! sequences on anything that can be mounted; [`memory`] runs them on the union in memory.

pub(crate) mod above;
pub(crate) mod layers;
pub(crate) mod mem_layer;
pub(crate) mod memory;
pub(crate) mod op;
pub(crate) mod oracle;
pub(crate) mod view;

mod cases;
mod moves;
mod unpack;
