//! TLS towards the CA's own server.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::AcmeOpenError;

/// Trusts the roots in `file`, or without one those of the system.
pub fn client(
    file: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, AcmeOpenError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let failed = |source| AcmeOpenError::Roots {
                path: path.to_owned(),
                source,
            };
            let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
            let found = found.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            roots.add_parsable_certificates(found);
            if roots.is_empty() {
                let path = path.to_owned();
                return Err(AcmeOpenError::NoRoot { path });
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "cannot read some of the system's root certificates");
            }
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                tracing::error!(
                    "the system has no root certificates: no CA can be reached without `acme.ca_file`"
                );
            }
        }
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(AcmeOpenError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
