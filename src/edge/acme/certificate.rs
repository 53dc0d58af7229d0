//! A certificate with its key, as it is kept: one PEM file, the key first.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

use super::jws;

/// Ready for handshakes.
pub struct Certificate {
    pub key: Arc<CertifiedKey>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// What the CA knows it by when it is asked for renewal information (RFC 9773 §4.1); none without an authority key
    /// identifier.
    pub id: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("it is no PEM with a key and a certificate chain")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("there is no certificate in it")]
    Empty,
    #[error("key and certificate do not belong together")]
    Key(#[source] rustls::Error),
    #[error("the certificate cannot be read")]
    X509(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
    #[error("its dates cannot be read")]
    Dates(#[source] jiff::Error),
    #[error("it is for other names")]
    OtherName,
}

impl Certificate {
    /// Reads what [`join`] made, for `name`.
    pub fn read(
        name: &str,
        pem: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Certificate, CertificateError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(CertificateError::Pem)?;
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(CertificateError::Pem)?;
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(CertificateError::X509)?;
        if !covers(&parsed, name) {
            return Err(CertificateError::OtherName);
        }
        let date = |seconds| Timestamp::from_second(seconds).map_err(CertificateError::Dates);
        let not_before = date(parsed.validity().not_before.timestamp())?;
        let not_after = date(parsed.validity().not_after.timestamp())?;
        let id = renewal_id(&parsed);
        let key = CertifiedKey::from_der(chain, key, provider).map_err(CertificateError::Key)?;
        Ok(Certificate {
            key: Arc::new(key),
            not_before,
            not_after,
            id,
        })
    }
}

/// The file that [`Certificate::read`] reads.
pub fn join(key_pem: &str, chain_pem: &[u8]) -> Vec<u8> {
    let mut pem = key_pem.trim_end().as_bytes().to_vec();
    pem.push(b'\n');
    pem.extend_from_slice(chain_pem);
    pem
}

fn covers(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let alternative = certificate.subject_alternative_name();
    let Ok(Some(alternative)) = alternative else {
        return false;
    };
    let names = &alternative.value.general_names;
    names.iter().any(
        |general| matches!(general, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name)),
    )
}

/// base64url of the authority key identifier, a dot, base64url of the serial number as it stands in the DER.
fn renewal_id(certificate: &X509Certificate<'_>) -> Option<String> {
    let authority = certificate.extensions().iter().find_map(|extension| {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                identifier.key_identifier.clone()
            }
            _ => None,
        }
    })?;
    let serial = certificate.raw_serial();
    Some(format!(
        "{}.{}",
        jws::encode(authority.0),
        jws::encode(serial)
    ))
}
