//! `seance trust`: how the machines of a team come to trust the local CA.

use std::io;
use std::path::PathBuf;

use clap::Args;

use crate::clock;
use crate::daemon::state::{self, StateError};
use crate::edge::tls::local::{LocalCa, LocalError};
use crate::systemd::Environment;

#[derive(Args)]
pub struct Trust {
    /// State directory of the daemon, when it is not the one of this user: /var/lib/seance
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// Write the root to this file (PEM) instead of naming the one in the state directory
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Ca(#[from] LocalError),
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Prints where the root is and how to install it; makes the CA when there is none.
pub fn run(arguments: Trust, environment: Environment) -> Result<(), TrustError> {
    let state = state::directory(arguments.state.or(environment.state_directory))?;
    let ca = LocalCa::open(&state, clock::now())?;
    let file = match arguments.out {
        Some(path) => {
            std::fs::write(&path, &ca.root).map_err(|source| TrustError::Write {
                path: path.clone(),
                source,
            })?;
            path
        }
        None => ca.path,
    };
    super::print(&instructions(&file.display().to_string()));
    Ok(())
}

fn instructions(file: &str) -> String {
    format!(
        "The root of the local CA is in {file}\n\
         Whoever installs it trusts every certificate that this machine makes for its hosts.\n\
         \n\
         Debian, Ubuntu   cp {file} /usr/local/share/ca-certificates/seance-local-ca.crt && update-ca-certificates\n\
         Fedora           cp {file} /etc/pki/ca-trust/source/anchors/seance-local-ca.pem && update-ca-trust\n\
         NixOS            security.pki.certificateFiles = [ ./seance-local-ca.pem ];\n\
         macOS            security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}\n\
         Windows          certutil -addstore -f ROOT {file}\n\
         Chromium, Linux  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n seance-local-ca -i {file}\n\
         Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import\n\
         curl             --cacert {file}\n\
         Node.js          NODE_EXTRA_CA_CERTS={file}\n"
    )
}
