//! Answers to a CA's challenges: put in force before the CA is told to look, and taken back afterwards.

use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_acme::acme::{Account, Challenge, ChallengeType};

use super::attempts::Kind;
use super::elsewhere;
use super::error::AcmeError;
use super::vault::Vault;
use crate::cause::chain;
use crate::edge::tls::certificates::{Certificates, Response};
use crate::tasks;

/// In the vault, by name, for the nodes that the CA may reach instead of us.
pub const FOLDER: &str = "challenges";

/// An answer in force, until it is dropped.
pub struct Answering {
    certificates: Certificates,
    name: String,
    token: String,
    /// Where the CA is told to look.
    pub url: String,
}

/// The kinds among `challenges` that we can answer.
pub fn offered(challenges: &[Challenge]) -> Vec<Kind> {
    let kind = |challenge: &Challenge| match challenge.typ {
        ChallengeType::TlsAlpn01 => Some(Kind::TlsAlpn),
        ChallengeType::Http01 => Some(Kind::Http),
        ChallengeType::Dns01 | ChallengeType::Unknown => None,
    };
    challenges.iter().filter_map(kind).collect()
}

/// Puts the answer for `name` in force on this node, and on the others when there are any.
pub async fn answer(
    certificates: &Certificates,
    vault: &Vault,
    account: &Account,
    name: &str,
    challenges: &[Challenge],
    kind: Kind,
) -> Result<Answering, AcmeError> {
    let failed = |error: rustls_acme::acme::AcmeError| AcmeError::Crypto(error.into());
    let challenge = match kind {
        Kind::TlsAlpn => {
            let made = account.tls_alpn_01(challenges, name.to_owned());
            let (challenge, key) = made.map_err(failed)?;
            certificates.set_challenge(name, Arc::new(key));
            challenge
        }
        Kind::Http => {
            let (challenge, authorization) = account.http_01(challenges).map_err(failed)?;
            certificates.set_http_challenge(&challenge.token, &authorization);
            challenge
        }
    };
    let answering = Answering {
        certificates: certificates.clone(),
        name: name.to_owned(),
        token: challenge.token.clone(),
        url: challenge.url.clone(),
    };
    if vault.shared().is_some() {
        // Of one challenge: its key authorization does not depend on its kind.
        let authorization = key_authorization(account, challenge)?;
        let response = Response {
            token: challenge.token.clone(),
            key_authorization: authorization,
        };
        vault.save(FOLDER, name, &response).await?;
        // Till then another node may rely on having found nothing.
        tasks::pause(elsewhere::RELIED_ON).await;
    }
    Ok(answering)
}

/// The token, a dot, the thumbprint of the account key (RFC 8555 §8.1).
fn key_authorization(account: &Account, challenge: &Challenge) -> Result<String, AcmeError> {
    let as_http = Challenge {
        typ: ChallengeType::Http01,
        url: String::new(),
        token: challenge.token.clone(),
        error: None,
    };
    let made = account.http_01(std::slice::from_ref(&as_http));
    let (_, authorization) = made.map_err(|error| AcmeError::Crypto(error.into()))?;
    Ok(authorization)
}

/// Removes what the other nodes were told. That it stays is no harm: the next order of the name replaces it.
pub async fn withdraw(vault: &Vault, name: &str) {
    if vault.shared().is_some()
        && let Err(error) = vault.remove(FOLDER, name).await
    {
        tracing::debug!(host = name, error = %chain(&error), "the answer to a challenge stays in the store");
    }
}

/// The certificate that answers TLS-ALPN-01 for `name` (RFC 8737 §3) on a node that has no part in the order.
pub fn certificate(name: &str, key_authorization: &str) -> Result<CertifiedKey, AcmeError> {
    let failed = |error: rcgen::Error| AcmeError::Crypto(error.into());
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest.as_ref())];
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(vec![certificate.der().clone()], key.into(), &provider)
        .map_err(|error| AcmeError::Crypto(error.into()))
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.certificates.clear_challenge(&self.name);
        self.certificates.clear_http_challenge(&self.token);
    }
}
