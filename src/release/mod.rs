//! What a release is: the files of a product, published together or not at all.

pub mod body;
mod lint;
mod manifest;
pub mod path;
mod record;
mod state;
