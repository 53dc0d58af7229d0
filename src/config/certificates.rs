//! With what certificate each host is served.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::checks;
use super::hosts::{Host, HostTls, Hosts};
use super::table::{Place, Table};

/// How a host is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostCertificate {
    /// In plain text.
    None,
    /// Obtained from the CA of `[acme]`.
    Acme,
    /// Issued by the local CA.
    Local,
    /// Files that the operator keeps up to date.
    Files { chain: PathBuf, key: PathBuf },
}

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("`hosts`: `{0}` is not a host name")]
    Name(String),
    #[error("`hosts`: `{0}` is written in two ways; case does not tell names apart")]
    Twice(String),
    #[error(
        "`hosts.\"{0}\"`: a wildcard needs `certificate_file`: no certificate is obtained for it"
    )]
    Wildcard(String),
    #[error("`hosts.\"{0}\"`: `certificate_file` and `key_file` are needed together")]
    Half(String),
    #[error("`hosts.\"{0}\"`: `tls` and `certificate_file` are both set; one of them has to go")]
    Both(String),
    #[error(
        "{place}: `hosts.\"{host}\"` is an address, and certificates are obtained for names; it needs `certificate_file`, \
         or `tls = \"off\"`"
    )]
    Address { place: Place, host: String },
    #[error(
        "{place}: `hosts.\"{host}\"` has no dot, and Let's Encrypt certifies no such names; it needs another \
         `acme.directory`, `certificate_file`, or `tls`: \"local\" or \"off\""
    )]
    Dotless { place: Place, host: String },
}

/// Hosts by name in lower case. Relative files lie in the credentials directory, when there is one.
///
/// # Errors
/// A name that is none, and files that contradict the other options. The files themselves are not read.
pub fn resolve(
    hosts: &Hosts,
    behind_proxy: bool,
    credentials: Option<&Path>,
) -> Result<BTreeMap<String, HostCertificate>, ConfigError> {
    let mut resolved = BTreeMap::new();
    for (name, host) in hosts {
        let certificate = one(name, host, credentials)?;
        let certificate = if behind_proxy {
            HostCertificate::None
        } else {
            certificate
        };
        let lower = name.to_ascii_lowercase();
        if resolved.insert(lower, certificate).is_some() {
            return Err(HostError::Twice(name.clone()).into());
        }
    }
    Ok(resolved)
}

fn one(name: &str, host: &Host, credentials: Option<&Path>) -> Result<HostCertificate, HostError> {
    let bare = name.strip_prefix("*.");
    if !checks::is_host(bare.unwrap_or(name)) {
        return Err(HostError::Name(name.to_owned()));
    }
    let below = |path: &PathBuf| match credentials {
        Some(directory) => directory.join(path),
        None => path.clone(),
    };
    match (&host.certificate_file, &host.key_file) {
        (Some(_), Some(_)) if host.tls.is_some() => Err(HostError::Both(name.to_owned())),
        (Some(chain), Some(key)) => Ok(HostCertificate::Files {
            chain: below(chain),
            key: below(key),
        }),
        (None, None) => match host.tls {
            Some(HostTls::Off) => Ok(HostCertificate::None),
            _ if bare.is_some() => Err(HostError::Wildcard(name.to_owned())),
            Some(HostTls::Local) => Ok(HostCertificate::Local),
            None if is_local(name) => Ok(HostCertificate::Local),
            Some(HostTls::Acme) | None => Ok(HostCertificate::Acme),
        },
        _ => Err(HostError::Half(name.to_owned())),
    }
}

/// # Errors
/// A host for which the CA at `directory` would never give the certificate that it is to have. A CA of the operator's own
/// may certify names without a dot.
pub fn check_names(
    table: &Table,
    certificates: &BTreeMap<String, HostCertificate>,
    directory: &str,
) -> Result<(), ConfigError> {
    let directory = directory.parse::<http::Uri>().unwrap_or_default(); // refused with the section
    let public = directory.host().is_some_and(|host| {
        let host = host.to_ascii_lowercase();
        host == "letsencrypt.org" || host.ends_with(".letsencrypt.org")
    });
    for host in table.hosts() {
        if certificates.get(&host.name) != Some(&HostCertificate::Acme) {
            continue;
        }
        let (place, name) = (host.place.clone(), host.name.clone());
        // RFC 8738: an order of another type.
        if name.parse::<Ipv4Addr>().is_ok() {
            return Err(HostError::Address { place, host: name }.into());
        }
        if public && !name.contains('.') {
            return Err(HostError::Dotless { place, host: name }.into());
        }
    }
    Ok(())
}

/// Names that always mean this machine (RFC 6761 §6.3); no public CA certifies them.
fn is_local(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}
