//! What the CA says about the time to renew (ACME Renewal Information, RFC 9773).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::ca::Ca;
use super::certificate::Certificate;
use super::error::AcmeError;
use super::renewal::Window;
use crate::cause::chain;

/// Between two questions, when the CA does not say (RFC 9773 §4.3.3), and the least and most that it can say.
const AGAIN: Duration = Duration::from_secs(6 * 3600);
const AGAIN_LEAST: Duration = Duration::from_secs(60);
const AGAIN_MOST: Duration = Duration::from_secs(24 * 3600);
/// After no answer.
const AFTER_FAILURE: Duration = Duration::from_secs(15 * 60);

const ACTION: &str = "say when to renew";

/// What is known for one certificate.
#[derive(Default)]
pub struct Ari {
    window: Option<Window>,
    again: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: Window,
}

impl Ari {
    /// Asks, when it is time to. A CA that does not answer changes nothing: the certificate is renewed by its life.
    pub async fn refresh(&mut self, ca: &Ca, certificate: &Certificate, now: Timestamp) {
        if self.again.is_some_and(|again| again > now) {
            return;
        }
        let pause = match self.ask(ca, certificate).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "no renewal information");
                AFTER_FAILURE
            }
        };
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_hours(1)); // bounded above
        self.again = now.checked_add(pause).ok(); // the end of time: ask again each time
    }

    async fn ask(&mut self, ca: &Ca, certificate: &Certificate) -> Result<Duration, AcmeError> {
        let directory = ca.directory().await?;
        let (Some(base), Some(id)) = (&directory.renewal_info, &certificate.id) else {
            return Ok(AGAIN_MOST);
        };
        let url = format!("{}/{id}", base.trim_end_matches('/'));
        let answer = ca.get(ACTION, &url).await?;
        let info: RenewalInfo = answer.json(ACTION)?;
        self.window = Some(info.suggested_window);
        let again = answer.retry_after().unwrap_or(AGAIN);
        Ok(again.clamp(AGAIN_LEAST, AGAIN_MOST))
    }

    pub fn window(&self) -> Option<Window> {
        self.window
    }

    /// When to ask again.
    pub fn next(&self) -> Option<Timestamp> {
        self.again
    }
}
