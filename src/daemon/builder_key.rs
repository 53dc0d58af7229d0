//! The builder key of a daemon without a configuration file: made at the first start, kept in the state directory.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::error::Unspecified;

use crate::config::{BuilderKeyHash, SecretError, SecretSource};

const FILE: &str = "builder-key";

#[derive(Debug, thiserror::Error)]
pub enum BuilderKeyError {
    #[error("cannot get random bytes from the system")]
    Random(#[source] Unspecified),
    #[error("cannot write the builder key {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the builder key of the state directory")]
    Read(#[source] SecretError),
}

pub struct BuilderKey {
    pub path: PathBuf,
    pub hash: BuilderKeyHash,
    /// The key itself, only when it was made just now.
    pub fresh: Option<String>,
}

/// 256 random bits, in a form that survives copying and any shell.
pub fn generate() -> Result<String, Unspecified> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random)?;
    Ok(format!("seance_{}", hex::encode(random)))
}

pub fn load_or_create(state: &Path) -> Result<BuilderKey, BuilderKeyError> {
    let path = state.join(FILE);
    if path.exists() {
        let key = SecretSource::File(path.clone())
            .read()
            .map_err(BuilderKeyError::Read)?;
        return Ok(BuilderKey {
            path,
            hash: BuilderKeyHash::of(key.expose()),
            fresh: None,
        });
    }
    let key = generate().map_err(BuilderKeyError::Random)?;
    write(&path, &key).map_err(|source| BuilderKeyError::Write {
        path: path.clone(),
        source,
    })?;
    Ok(BuilderKey {
        path,
        hash: BuilderKeyHash::of(&key),
        fresh: Some(key),
    })
}

/// Under another name first: a crash must not leave half a key behind that every later start would use.
fn write(path: &Path, key: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    std::fs::rename(new, path)
}
