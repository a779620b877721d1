//! Image words: what is read, what is refused.

mod documents;
mod reference;
