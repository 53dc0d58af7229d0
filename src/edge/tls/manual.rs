//! Certificates that the operator keeps in files.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::certificates::expiry_of;

/// Chains are a few KB; a larger file is a mistake in the path.
const FILE_MOST: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is larger than {FILE_MOST} bytes")]
    Large { path: PathBuf },
    #[error("{path} holds no certificates in PEM")]
    Chain {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{path} holds no certificate (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate { path: PathBuf },
    #[error("{path} holds no private key in PEM")]
    Key {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("the first certificate in {path} cannot be used")]
    Certificate {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("the key in {key} does not belong to the first certificate in {chain}")]
    Pair {
        key: PathBuf,
        chain: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("the key in {path} cannot be used")]
    KeyKind {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("`{name}` is not a name that a certificate can be for")]
    Name {
        name: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("the first certificate in {path} is not for `{name}`")]
    OtherName {
        path: PathBuf,
        name: String,
        #[source]
        source: rustls::Error,
    },
    #[error("the first certificate in {path} expired at {at}")]
    Expired { path: PathBuf, at: Timestamp },
}

/// Reads a chain, end entity first, and its key, and proves that they can serve `name`.
///
/// # Errors
/// What is wrong with which file.
pub fn load(
    name: &str,
    chain: &Path,
    key: &Path,
    now: Timestamp,
) -> Result<CertifiedKey, ManualError> {
    let chain_pem = read(chain)?;
    let certificates = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| ManualError::Chain {
            path: chain.to_owned(),
            source,
        })?;
    let Some(first) = certificates.first() else {
        return Err(ManualError::NoCertificate {
            path: chain.to_owned(),
        });
    };
    is_for(name, first, chain)?;
    if let Some(at) = expiry_of(first).filter(|at| *at <= now) {
        let path = chain.to_owned();
        return Err(ManualError::Expired { path, at });
    }
    let key_pem = Zeroizing::new(read(key)?);
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|source| ManualError::Key {
        path: key.to_owned(),
        source,
    })?;
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private);
    let signing = signing.map_err(|source| ManualError::KeyKind {
        path: key.to_owned(),
        source,
    })?;
    let certified = CertifiedKey::new(certificates, signing);
    certified.keys_match().map_err(|source| ManualError::Pair {
        key: key.to_owned(),
        chain: chain.to_owned(),
        source,
    })?;
    Ok(certified)
}

/// A wildcard host needs a certificate for any one name below it.
fn is_for(
    name: &str,
    certificate: &CertificateDer<'static>,
    path: &Path,
) -> Result<(), ManualError> {
    let parsed =
        ParsedCertificate::try_from(certificate).map_err(|source| ManualError::Certificate {
            path: path.to_owned(),
            source,
        })?;
    let sample = name
        .strip_prefix("*.")
        .map_or_else(|| name.to_owned(), |parent| format!("any-name.{parent}"));
    let wanted = ServerName::try_from(sample).map_err(|source| ManualError::Name {
        name: name.to_owned(),
        source,
    })?;
    rustls::client::verify_server_name(&parsed, &wanted).map_err(|source| ManualError::OtherName {
        path: path.to_owned(),
        name: name.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ManualError> {
    let failed = |source| ManualError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MOST {
        let path = path.to_owned();
        return Err(ManualError::Large { path });
    }
    std::fs::read(path).map_err(failed)
}
