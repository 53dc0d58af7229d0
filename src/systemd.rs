//! What systemd gives us and wants to hear: inherited sockets by name, readiness, reload, the watchdog, credentials,
//! the journal. Also the only room besides `config` that reads the environment.
//!
//! sd_listen_fds(3), sd_notify(3), systemd.exec(5) "LoadCredential=".

use std::collections::BTreeMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;

/// What was passed to this process when it started; read once, before any thread exists.
pub struct Environment {
    /// Sockets by `FileDescriptorName=`; one name may stand for several.
    pub sockets: BTreeMap<String, Vec<OwnedFd>>,
    /// How often systemd wants to hear from a healthy daemon.
    pub watchdog: Option<Duration>,
    pub state_directory: Option<PathBuf>,
    pub credentials_directory: Option<PathBuf>,
    /// Standard error is connected to the journal.
    pub journal: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    #[error("LISTEN_FDS and LISTEN_FDNAMES do not describe inherited sockets")]
    ListenFds(#[source] std::io::Error),
    #[error("cannot notify systemd")]
    Notify(#[source] std::io::Error),
}

impl Environment {
    /// Takes what systemd passed. Call it once, first thing in `main`: it takes the ownership of descriptors.
    pub fn take() -> Result<Environment, SystemdError> {
        Ok(Environment {
            sockets: sockets()?,
            watchdog: sd_notify::watchdog_enabled(),
            state_directory: variable("STATE_DIRECTORY").map(|value| first_path(&value)),
            credentials_directory: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            journal: journal(),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the room that reads what systemd passes"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty()) // not UTF-8 counts as not set: systemd never does it
}

/// `STATE_DIRECTORY` is a colon-separated list when the unit names several; the first one is ours.
fn first_path(list: &str) -> PathBuf {
    PathBuf::from(list.split(':').next().unwrap_or(list))
}

/// `JOURNAL_STREAM` holds device and inode of the stream; after a redirection standard error is another one.
fn journal() -> bool {
    let Some(stream) = variable("JOURNAL_STREAM") else {
        return false;
    };
    nix::sys::stat::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn sockets() -> Result<BTreeMap<String, Vec<OwnedFd>>, SystemdError> {
    let mut by_name: BTreeMap<String, Vec<OwnedFd>> = BTreeMap::new();
    if variable("LISTEN_FDS").is_none() {
        return Ok(by_name);
    }
    for (descriptor, name) in sd_notify::listen_fds_with_names().map_err(SystemdError::ListenFds)? {
        #[expect(unsafe_code, reason = "the descriptor is passed by number")]
        // SAFETY: sd_listen_fds(3) gives this process these descriptors; `take` runs once, before anything opens one.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        by_name.entry(name).or_default().push(socket);
    }
    Ok(by_name)
}

/// Tells systemd that every listener is bound; `fields` are further `KEY=value` lines of the same message.
pub fn ready(status: &str, fields: &[(String, String)]) -> Result<(), SystemdError> {
    let lines: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut states = vec![NotifyState::Ready, NotifyState::Status(status)];
    states.extend(lines.iter().map(|line| NotifyState::Custom(line)));
    notify(&states)
}

/// RELOADING=1 and MONOTONIC_USEC have to be in one message: systemd.service(5) `Type=notify-reload`.
pub fn reloading() -> Result<(), SystemdError> {
    let now = NotifyState::monotonic_usec_now().map_err(SystemdError::Notify)?;
    notify(&[NotifyState::Reloading, now])
}

pub fn stopping() -> Result<(), SystemdError> {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")])
}

pub fn watchdog_ping() -> Result<(), SystemdError> {
    notify(&[NotifyState::Watchdog])
}

fn notify(states: &[NotifyState]) -> Result<(), SystemdError> {
    sd_notify::notify(states).map_err(SystemdError::Notify)
}

/// MESSAGE_ID of each kind of journal event, sd_journal_print(3); `nix/seance.catalog` explains them.
pub mod message {
    pub const READY: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d11";
    pub const STOPPING: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d12";
    pub const RELOADED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d13";
    pub const RELOAD_FAILED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d14";
    pub const DEPLOY_PUBLISHED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d15";
    pub const DEPLOY_REFUSED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d16";
    pub const DEPLOY_FAILED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d17";
    pub const STORE_LOST: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d18";
    pub const STORE_FOUND: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d19";
    pub const RELEASE_CHANGED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d40";
    pub const ROLLOUT_ADVANCED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d41";
    pub const TASK_DIED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d1a";
    pub const REQUESTS_CUT: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d1b";
    pub const CERTIFICATE_OBTAINED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d31";
    pub const CERTIFICATE_FAILED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d32";
    pub const CERTIFICATE_LOADED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d1c";
    pub const CERTIFICATE_REFUSED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d1d";
    pub const CERTIFICATE_EXPIRES: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d1e";
    pub const CERTIFICATE_MISSING: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d1f";
    pub const CERTIFICATE_EXPIRED: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d20";
    pub const BUS_LOST: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d50";
    pub const BUS_FOUND: &str = "7c1d3e6a5b0f4d2f9a6e1c84b7f20d51";
}
