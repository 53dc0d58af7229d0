//! What somebody who started the daemon by hand wants to know first.

use std::io::{IsTerminal as _, Write as _};

use super::builder_key::BuilderKey;
use super::sockets::Addresses;
use crate::config::App;

/// Warns of every app that nobody can deploy to.
pub fn name_keyless(apps: &[App]) {
    for app in apps.iter().filter(|app| app.builder_keys.is_empty()) {
        tracing::warn!(
            app = %app.name,
            "no builder key is configured for this app: its deploys are switched off (`seance key new` makes a key)"
        );
    }
}

/// Printed only without a configuration file: a service has its journal. The key itself goes to a terminal only, so
/// that it never lands in a log.
pub fn print(addresses: &Addresses, made: Option<BuilderKey>) {
    let (Some(made), Some(address)) = (made, addresses.http.first()) else {
        return;
    };
    let key = made.path.display();
    let mut text =
        format!("\nseance is serving on http://{address}   (API: http://{address}/ui)\n");
    if let Some(metrics) = addresses.metrics.first() {
        text += &format!("metrics on http://{metrics}/metrics\n");
    }
    let mut out = std::io::stdout();
    match made.fresh {
        Some(secret) if out.is_terminal() => {
            text += &format!("builder key, made now and kept in {key}:\n  {secret}\n")
        }
        _ => text += &format!("builder key in {key}\n"),
    }
    text += &format!(
        "deploy something:\n  curl -fsS http://{address}/deploy -H \"X-Builder-Key: $(cat '{key}')\" \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -d '{{\"files\":[{{\"path\":\"releases/hello.txt\",\"content\":\"aGVsbG8K\"}}]}}'\n\n"
    );
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(error = %error, "cannot print the greeting");
    }
}
