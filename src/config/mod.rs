//! What an operator may write, parsed once into what the program uses.

mod store;

pub use store::Store;
