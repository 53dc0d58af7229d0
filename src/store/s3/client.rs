//! The SDK's client as we want it.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, StalledStreamProtectionConfig,
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction, RetryConfig},
        timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::{config, store::StoreError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The slowest uplink a part of an upload may have, bytes per second.
const SLOWEST_BYTES_PER_SECOND: u64 = 128 * 1024;
/// How slow a provider may copy within itself, bytes per second.
const SLOWEST_COPY_BYTES_PER_SECOND: u64 = 16 * 1024 * 1024;
const FIRST_BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// Builds the client without touching the network. Reads the trusted
/// certificates and the credential files: call it on a blocking thread.
pub(super) fn build(config: &config::S3) -> Result<Client, StoreError> {
    let unreadable = |source| StoreError::Credentials { source };
    let id = config.access_key_id.read().map_err(unreadable)?;
    let secret = config.secret_access_key.read().map_err(unreadable)?;
    let mut settings = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(Credentials::new(
            id.expose(),
            secret.expose(),
            None,
            None,
            "seance configuration",
        ))
        .http_client(
            aws_smithy_http_client::Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .build_https(),
        )
        .force_path_style(config.path_style)
        // By default the SDK frames streamed bodies with its own checksums,
        // which Ceph and Spaces refuse (XAmzContentSHA256Mismatch).
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(config.attempts)
                .with_initial_backoff(FIRST_BACK_OFF)
                .with_max_backoff(LONGEST_BACK_OFF),
        )
        .retry_classifier(Throttling)
        .timeout_config(timeouts(operation_timeout(config)));
    if let Some(endpoint) = &config.endpoint {
        settings = settings.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(settings.build()))
}

/// The time one operation without a large body may take, all tries together.
pub(super) fn operation_timeout(config: &config::S3) -> Duration {
    Duration::from_secs(config.operation_timeout_seconds)
}

/// Settings of an operation that sends `bytes`: the deadline grows with them.
pub(super) fn sending(base: Duration, bytes: usize) -> aws_sdk_s3::config::Builder {
    let extra = Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND);
    aws_sdk_s3::Config::builder().timeout_config(timeouts(base + extra))
}

/// The same for one that must not be repeated behind our back.
pub(super) fn once(base: Duration, bytes: usize) -> aws_sdk_s3::config::Builder {
    sending(base, bytes).retry_config(RetryConfig::disabled())
}

/// Settings of an operation in which the provider moves `bytes` itself and may
/// be silent meanwhile, which stalled-stream protection would take for a fault.
pub(super) fn moving(base: Duration, bytes: u64) -> aws_sdk_s3::config::Builder {
    let extra = Duration::from_secs(bytes / SLOWEST_COPY_BYTES_PER_SECOND);
    aws_sdk_s3::Config::builder()
        .timeout_config(timeouts(base + extra))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

fn timeouts(operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        // Half of the whole, so that a try that hangs leaves room for another.
        .operation_attempt_timeout(operation / 2)
        .operation_timeout(operation)
        .build()
}

/// Sees throttling where the SDK does not: Wasabi answers it with status 400.
#[derive(Debug)]
struct Throttling;

impl ClassifyRetry for Throttling {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response() else {
            return RetryAction::NoActionIndicated;
        };
        let body = response.body().bytes().unwrap_or_default();
        let throttled = match response.status().as_u16() {
            429 => true,
            400 | 503 => names_a_throttled_code(body),
            _ => false,
        };
        if throttled {
            RetryAction::throttling_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "throttling in providers' own words"
    }
}

fn names_a_throttled_code(body: &[u8]) -> bool {
    // An error document is a few hundred bytes and names its code first.
    let head = body.get(..4096).unwrap_or(body);
    THROTTLED_CODES.iter().any(|code| {
        head.windows(code.len())
            .any(|window| window == code.as_bytes())
    })
}

/// Error codes by which providers say "slower".
pub(super) const THROTTLED_CODES: [&str; 5] = [
    "SlowDown",
    "RequestRateLimitExceeded",
    "RequestLimitExceeded",
    "Throttling",
    "TooManyRequests",
];
