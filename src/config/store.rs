//! Where objects live, resolved: a directory, or a bucket with its secrets.

use std::path::{Path, PathBuf};

use super::file::{self, StoreKind};
use super::{ConfigError, Secret, SecretSource, checks};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A relative directory lies in the state directory.
    Filesystem {
        directory: PathBuf,
    },
    S3(S3),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub bucket: String,
    pub region: String,
    pub endpoint: Option<String>,
    pub access_key_id: SecretSource,
    pub secret_access_key: SecretSource,
    pub path_style: bool,
    pub acl: bool,
    pub part_size_bytes: usize,
    pub parts_in_flight: usize,
    pub operation_timeout_seconds: u64,
    pub attempts: u32,
}

impl Store {
    pub fn differs_only_in_credentials(&self, new: &Store) -> bool {
        match (self, new) {
            (Store::S3(old), Store::S3(new)) => old.with_credentials_of(new) == *new,
            (old, new) => old == new,
        }
    }

    /// The store of a daemon with this state directory.
    pub fn within(&self, state: &Path) -> Store {
        match self {
            Store::Filesystem { directory } => Store::Filesystem {
                directory: state.join(directory),
            },
            s3 @ Store::S3(_) => s3.clone(),
        }
    }
}

impl S3 {
    /// This bucket with the credentials of `new`: they can change while the daemon runs.
    pub fn with_credentials_of(&self, new: &S3) -> S3 {
        S3 {
            access_key_id: new.access_key_id.clone(),
            secret_access_key: new.secret_access_key.clone(),
            ..self.clone()
        }
    }
}

/// The first option that makes no sense without a bucket.
fn of_bucket(s3: &file::S3) -> Option<&'static str> {
    let options = [
        ("store.s3.bucket", s3.bucket.is_some()),
        ("store.s3.endpoint", s3.endpoint.is_some()),
        ("store.s3.access_key_id", s3.access_key_id.is_some()),
        (
            "store.s3.access_key_id_file",
            s3.access_key_id_file.is_some(),
        ),
        ("store.s3.secret_access_key", s3.secret_access_key.is_some()),
        (
            "store.s3.secret_access_key_file",
            s3.secret_access_key_file.is_some(),
        ),
    ];
    let mut set = options.into_iter().filter(|(_, is_set)| *is_set);
    set.next().map(|(key, _)| key)
}

/// Relative secret files lie in the credentials directory, when there is one.
pub fn resolve(file: file::Store, credentials: Option<&Path>) -> Result<Store, ConfigError> {
    if file.kind == StoreKind::Filesystem {
        // Also where the kind was said: generated files say it always.
        if let Some(key) = of_bucket(&file.s3) {
            return Err(ConfigError::UnusedBucket { key });
        }
        return Ok(Store::Filesystem {
            directory: file.directory,
        });
    }
    let s3 = file.s3;
    let secret = |variable, key, value: Option<Secret>, path: Option<PathBuf>| match (value, path) {
        (Some(_), Some(_)) => Err(ConfigError::Both { key }),
        (Some(value), None) if value.expose().is_empty() => Err(ConfigError::Empty { key }),
        (Some(value), None) => Ok(SecretSource::Value(value)),
        (None, Some(path)) => Ok(SecretSource::File(match credentials {
            Some(directory) => directory.join(path),
            None => path,
        })),
        (None, None) => Err(ConfigError::NoCredential { variable, key }),
    };
    if let Some(endpoint) = &s3.endpoint {
        checks::address("store.s3.endpoint", endpoint)?;
    }
    let bucket = s3.bucket.ok_or(ConfigError::NoBucket)?;
    for (key, text) in [
        ("store.s3.bucket", &bucket),
        ("store.s3.region", &s3.region),
    ] {
        if text.is_empty() {
            return Err(ConfigError::Empty { key });
        }
    }
    Ok(Store::S3(S3 {
        access_key_id: secret(
            "SPACES_ACCESS_KEY_ID",
            "store.s3.access_key_id",
            s3.access_key_id,
            s3.access_key_id_file,
        )?,
        secret_access_key: secret(
            "SPACES_SECRET_ACCESS_KEY",
            "store.s3.secret_access_key",
            s3.secret_access_key,
            s3.secret_access_key_file,
        )?,
        bucket,
        region: s3.region,
        endpoint: s3.endpoint,
        path_style: s3.path_style,
        acl: s3.acl,
        part_size_bytes: s3.part_size_bytes,
        parts_in_flight: s3.parts_in_flight,
        operation_timeout_seconds: s3.operation_timeout_seconds,
        attempts: s3.attempts,
    }))
}
