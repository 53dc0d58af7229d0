//! Addresses, origins and host names that could be read, but would be of no use.

use std::net::SocketAddr;

use super::ConfigError;
use super::types::AppName;

/// Port 0 is another port each time.
pub fn listen(key: &'static str, addresses: &[SocketAddr]) -> Result<(), ConfigError> {
    for (index, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..index].contains(address) {
            let address = *address;
            return Err(ConfigError::Twice { key, address });
        }
    }
    Ok(())
}

/// Where a service is: scheme and host, perhaps port and path. Paths are put behind it, which a query or a fragment would
/// swallow.
pub fn address(key: &str, value: &str) -> Result<(), ConfigError> {
    let parsed = value.parse::<http::Uri>();
    let has_host = parsed.is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let has_more = value.contains(['?', '#']);
    if has_host && !has_more && (value.starts_with("https://") || value.starts_with("http://")) {
        return Ok(());
    }
    Err(ConfigError::Address {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// What browsers send, byte for byte: scheme, host in lower case, and a port that is not the scheme's own (RFC 6454 §6.2).
/// Anything else would never match.
pub fn origin(key: &'static str, value: &str) -> Result<(), ConfigError> {
    address(key, value)?;
    if !value.contains('*') && serialized(value).as_deref() == Some(value) {
        return Ok(());
    }
    Err(ConfigError::Origin {
        key,
        value: value.to_owned(),
    })
}

fn serialized(origin: &str) -> Option<String> {
    let uri: http::Uri = origin.parse().ok()?; // the error names the text
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let port = match (scheme, authority.port_u16()) {
        (_, None) | ("https", Some(443)) | ("http", Some(80)) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let host = authority.host().to_ascii_lowercase();
    Some(format!("{scheme}://{host}{port}"))
}

/// RFC 1123 §2.1. A port does not belong to it.
pub fn host(app: &AppName, host: &str) -> Result<(), ConfigError> {
    if is_host(host) {
        return Ok(());
    }
    Err(ConfigError::Host {
        app: app.clone(),
        host: host.to_owned(),
    })
}

/// A heading of one line.
pub fn display_name(app: &AppName, shown: &str) -> Result<(), ConfigError> {
    let length = shown.chars().count();
    if (1..=80).contains(&length)
        && !shown.trim().is_empty()
        && !shown.chars().any(char::is_control)
    {
        return Ok(());
    }
    Err(ConfigError::DisplayName { app: app.clone() })
}

pub fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The same for pages that an app's webview has from elsewhere: it sends a scheme of its own, or `null`.
pub fn page_origin(key: &'static str, value: &str) -> Result<(), ConfigError> {
    let refused = || ConfigError::PageOrigin {
        key,
        value: value.to_owned(),
    };
    match value.split_once("://") {
        Some(("https" | "http", _)) => origin(key, value),
        Some((scheme, host)) if is_scheme(scheme) && is_opaque_host(host) => Ok(()),
        None if value == "null" => Ok(()),
        _ => Err(refused()),
    }
}

/// RFC 3986 §3.1, in the lower case that browsers send.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn is_opaque_host(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !b"/?#@*".contains(&b))
}
