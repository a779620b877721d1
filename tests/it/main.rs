//! The one integration test binary: every module here is named after what it proves.

mod support;
