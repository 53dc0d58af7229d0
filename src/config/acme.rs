//! The `[acme]` section: which CA gives certificates, and where they are kept.

use std::path::{Path, PathBuf};

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::secret::{Secret, SecretSource};

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeFile {
    /// The CA's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// Mail address that the CA may write to.
    pub contact: Option<String>,
    /// PEM file with the root of the certificate that the CA's own server shows, when no public one vouches for it.
    pub ca_file: Option<PathBuf>,
    /// Key identifier of the account at a CA that asks for external account binding (RFC 8555 §7.3.4).
    pub eab_key_id: Option<String>,
    /// The key to it, base64url.
    pub eab_hmac_key: Option<Secret>,
    /// File with that key; a relative name is looked up in systemd's credentials directory.
    pub eab_hmac_key_file: Option<PathBuf>,
    /// `disk` keeps account and certificates in the state directory; `store` in the store under `.seance/acme/`, which is
    /// private, for several nodes that answer for the same names.
    pub storage: AcmeStorage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AcmeStorage {
    Disk,
    Store,
}

impl Default for AcmeFile {
    fn default() -> AcmeFile {
        AcmeFile {
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            contact: None,
            ca_file: None,
            eab_key_id: None,
            eab_hmac_key: None,
            eab_hmac_key_file: None,
            storage: AcmeStorage::Disk,
        }
    }
}

/// The CA that gives certificates, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    pub directory: Uri,
    pub contact: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub binding: Option<Binding>,
    pub storage: AcmeStorage,
}

/// What binds our account to one that the operator has at the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub key_id: String,
    /// base64url.
    pub hmac_key: SecretSource,
}

/// Relative secret files lie in the credentials directory, when there is one.
pub fn resolve(file: AcmeFile, credentials: Option<&Path>) -> Result<Acme, ConfigError> {
    let directory = file.directory.parse::<Uri>().ok().filter(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(directory) = directory else {
        return Err(ConfigError::Address {
            key: "acme.directory".to_owned(),
            value: file.directory,
        });
    };
    if let Some(contact) = &file.contact
        && !is_mail_address(contact)
    {
        return Err(ConfigError::Contact {
            value: contact.clone(),
        });
    }
    let hmac_key = match (file.eab_hmac_key, file.eab_hmac_key_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Both {
                key: "acme.eab_hmac_key",
            });
        }
        (Some(secret), None) => Some(SecretSource::Value(secret)),
        (None, Some(path)) => Some(SecretSource::File(match credentials {
            Some(directory) => directory.join(path),
            None => path,
        })),
        (None, None) => None,
    };
    let binding = match (file.eab_key_id, hmac_key) {
        (Some(key_id), Some(hmac_key)) => Some(Binding { key_id, hmac_key }),
        (None, None) => None,
        _ => return Err(ConfigError::HalfBinding),
    };
    Ok(Acme {
        directory,
        contact: file.contact,
        ca_file: file.ca_file,
        binding,
        storage: file.storage,
    })
}

/// A CA takes one address, without header fields (RFC 8555 §7.3): what would break the `mailto:` is refused here.
fn is_mail_address(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",?:%<>\"".contains(c);
    text.split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !text.contains(odd)
}
