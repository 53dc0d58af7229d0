//! What other nodes have put up for the CA. Anybody can pose as one and have it looked up, so the store is asked once in a
//! while for each name, however many ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::challenge;
use super::vault::Vault;
use crate::cause::chain;
use crate::edge::tls::certificates::Response;

/// How long what was read is relied on, absence included. Who puts an answer up waits that long before the CA is told to
/// look.
pub const RELIED_ON: Duration = Duration::from_secs(1);
/// Questions to the store at the same time.
const QUESTIONS: usize = 4;

/// What was found, and when it was looked for.
type Read = Option<(Instant, Option<Response>)>;

pub struct Elsewhere {
    /// By name; whoever asks for a name that is being looked up waits for what is found.
    names: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Read>>>>,
    questions: Semaphore,
}

impl Elsewhere {
    pub fn new() -> Elsewhere {
        Elsewhere {
            names: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
        }
    }

    /// The answer for `name`, which has to be one of ours: each is remembered until [`Elsewhere::forget`].
    pub async fn response(&self, vault: &Vault, name: &str) -> Option<Response> {
        let asked = Instant::now();
        let read = self.names().entry(name.to_owned()).or_default().clone();
        let mut read = read.lock().await;
        // Begun while we waited, it is newer than our question however long the store took for it.
        if let Some((began, found)) = &*read
            && (*began >= asked || began.elapsed() < RELIED_ON)
        {
            return found.clone();
        }
        let _place = self.questions.acquire().await; // never closed
        let began = Instant::now();
        let found = vault.read(challenge::FOLDER, name).await;
        let found: Option<Response> = found.unwrap_or_else(|error| {
            tracing::warn!(host = name, error = %chain(&error), "cannot look up what another node answers the CA");
            None
        });
        *read = Some((began, found.clone()));
        found
    }

    pub fn forget(&self, name: &str) {
        self.names().remove(name);
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Read>>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
