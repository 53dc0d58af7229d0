//! Values that must never be printed.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// Secrets are short; a larger file is a mistake in the path.
const FILE_MOST: u64 = 64 * 1024;

/// A secret text. It prints as dots and is wiped from memory when dropped.
#[derive(Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(from = "String")]
pub struct Secret(#[schemars(with = "String")] Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
}

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

/// Where a secret comes from. Checking a configuration does not read it; starting the daemon does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Value(Secret),
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret in {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the secret in {path} is empty")]
    Empty { path: PathBuf },
    #[error("the secret in {path} is larger than {FILE_MOST} bytes")]
    Large { path: PathBuf },
}

impl SecretSource {
    /// Reads the secret now, so that a reload sees a rotated file. Trailing line ends do not belong to it.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Value(secret) => Ok(secret.clone()),
            SecretSource::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MOST {
        return Err(SecretError::Large {
            path: path.to_owned(),
        });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(SecretError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(Secret::from(secret.to_owned()))
}
