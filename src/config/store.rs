//! Where objects live.

use std::path::PathBuf;

/// The store an operator chose.
#[expect(
    dead_code,
    reason = "the loader comes with the rest of the configuration"
)]
#[derive(Debug, Clone)]
pub enum Store {
    /// A directory of this machine, made when it is missing.
    Filesystem { directory: PathBuf },
}
