//! When a request is sent again, and after how long.

use std::time::Duration;

use http::StatusCode;

use super::ClientError;
use crate::tasks;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Also of what a daemon may ask for by Retry-After.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What is left to one request.
pub struct Retries {
    left: u32,
    pause: Duration,
}

impl Retries {
    /// For a request that may be sent `tries` times.
    pub fn new(tries: u32) -> Retries {
        Retries {
            left: tries.saturating_sub(1),
            pause: FIRST_PAUSE,
        }
    }

    /// Waits before the next try, having told `tell` for how long; gives the error back when there is to be none.
    pub async fn wait(
        &mut self,
        error: ClientError,
        tell: impl FnOnce(&ClientError, Duration),
    ) -> Result<(), ClientError> {
        let mut random = [0];
        // Without randomness the pauses are merely all the same.
        let _ignored = aws_lc_rs::rand::fill(&mut random);
        let Some(pause) = self.next(&error, f64::from(random[0]) / 255.0) else {
            return Err(error);
        };
        tell(&error, pause);
        tasks::pause(pause).await;
        Ok(())
    }

    /// `random` is between 0 and 1; the pause between half of what it could be and all of it, so that the workers that
    /// one cut connection stopped do not come back as one.
    fn next(&mut self, error: &ClientError, random: f64) -> Option<Duration> {
        if !may_pass(error) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let pause = self.pause.mul_f64(0.5 + random / 2.0);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let asked = match error {
            ClientError::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        Some(pause.max(asked.min(LONGEST_PAUSE)))
    }
}

/// Whether the same request may be answered otherwise later. A refusal of the request itself is final.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Connect(..)
        | ClientError::Broken(..)
        | ClientError::Timeout { .. }
        | ClientError::Answer(..) => true,
        ClientError::Refused(refusal) => {
            let status = refusal.status;
            // 408: the link was so slow that the daemon gave the body up.
            let passing = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
            status.is_server_error() || passing.contains(&status)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::Refusal;

    fn refused(status: u16, retry_after: Option<u64>) -> ClientError {
        ClientError::Refused(Box::new(Refusal {
            uri: String::new(),
            status: StatusCode::from_u16(status).unwrap(),
            message: String::new(),
            body: serde_json::Value::Null,
            retry_after: retry_after.map(Duration::from_secs),
        }))
    }

    #[test]
    fn pauses_double_to_a_limit_and_end() {
        let mut retries = Retries::new(10);
        let pauses: Vec<u128> = std::iter::from_fn(|| retries.next(&refused(503, None), 1.0))
            .map(|pause| pause.as_millis())
            .collect();
        let wanted = [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000];
        assert_eq!(pauses, wanted);
        let least = Retries::new(10).next(&refused(500, None), 0.0);
        assert_eq!(least, Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_daemon_that_names_a_time_is_obeyed_within_reason() {
        let pause = |seconds| Retries::new(10).next(&refused(429, Some(seconds)), 0.0);
        assert_eq!(pause(7), Some(Duration::from_secs(7)));
        assert_eq!(pause(7000), Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_refusal_is_final() {
        for status in [400, 401, 403, 404, 409, 413, 422] {
            assert_eq!(
                Retries::new(10).next(&refused(status, Some(1)), 0.5),
                None,
                "{status}"
            );
        }
    }
}
