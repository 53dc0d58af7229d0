//! Every number with the least and the most that it may be.

use super::ConfigError;
use super::drafts::Drafts;
use super::file::{App, Audit, Deploy, File, Http, S3, Updates};

type Range = (&'static str, u64, u64, u64);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

pub fn check(file: &File) -> Result<(), ConfigError> {
    let ranges = http(&file.http)
        .into_iter()
        .chain(s3(&file.store.s3))
        .chain(deploy(&file.deploy))
        .chain(drafts(&file.drafts));
    let ranges = ranges
        .chain([(
            "https.handshake_timeout_seconds",
            file.https.handshake_timeout_seconds,
            1,
            HOUR,
        )])
        .chain(others(&file.updates, &file.audit))
        .chain(file.apps.values().flat_map(retention))
        .chain(file.signaling.ranges())
        .chain(file.signaling.nats.ranges());
    for (key, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            return Err(ConfigError::Range {
                key,
                value,
                least,
                most,
            });
        }
    }
    Ok(())
}

#[rustfmt::skip] // a table is read by its columns
fn http(http: &Http) -> [Range; 14] {
    [
        ("http.workers", http.workers as u64, 0, 256),
        ("http.max_connections", http.max_connections as u64, 1, 1_000_000),
        ("http.max_connections_per_address", http.max_connections_per_address as u64, 1, 1_000_000),
        ("http.max_header_bytes", http.max_header_bytes as u64, 8 * KIB, MIB),
        ("http.max_headers", http.max_headers as u64, 16, 1000),
        ("http.header_timeout_seconds", http.header_timeout_seconds, 1, HOUR),
        ("http.body_timeout_seconds", http.body_timeout_seconds, 1, HOUR),
        ("http.write_timeout_seconds", http.write_timeout_seconds, 1, HOUR),
        ("http.idle_timeout_seconds", http.idle_timeout_seconds, 1, DAY),
        ("http.min_bytes_per_second", http.min_bytes_per_second, 0, MIB),
        ("http.max_streams", u64::from(http.max_streams), 1, 10_000),
        ("http.max_resets_per_second", u64::from(http.max_resets_per_second), 1, 1_000_000),
        ("http.failed_passwords_per_minute", u64::from(http.failed_passwords_per_minute), 1, 1_000_000),
        ("http.drain_seconds", http.drain_seconds, 0, HOUR),
    ]
}

#[rustfmt::skip] // a table is read by its columns
fn s3(s3: &S3) -> [Range; 4] {
    [
        // S3 refuses smaller parts, but for the last one.
        ("store.s3.part_size_bytes", s3.part_size_bytes as u64, 5 * MIB, GIB),
        ("store.s3.parts_in_flight", s3.parts_in_flight as u64, 1, 64),
        ("store.s3.operation_timeout_seconds", s3.operation_timeout_seconds, 1, HOUR),
        ("store.s3.attempts", u64::from(s3.attempts), 1, 20),
    ]
}

#[rustfmt::skip] // a table is read by its columns
fn deploy(deploy: &Deploy) -> [Range; 12] {
    [
        ("deploy.max_body_bytes", deploy.max_body_bytes, KIB, 1024 * GIB),
        ("deploy.max_files", deploy.max_files as u64, 1, 1_000_000),
        ("deploy.max_concurrent", deploy.max_concurrent as u64, 1, 1000),
        ("deploy.buffer_bytes", deploy.buffer_bytes as u64, MIB, 4 * GIB),
        ("deploy.uploads_in_flight", deploy.uploads_in_flight as u64, 1, 64),
        ("deploy.stall_timeout_seconds", deploy.stall_timeout_seconds, 1, HOUR),
        ("deploy.failed_keys_per_minute", u64::from(deploy.failed_keys_per_minute), 1, 1_000_000),
        ("deploy.follow_seconds", deploy.follow_seconds, 1, HOUR),
        ("deploy.projection_grace_seconds", deploy.projection_grace_seconds, 1, HOUR),
        // A deploy may take half a day, and clocks differ.
        ("deploy.collect_after_seconds", deploy.collect_after_seconds, DAY, 366 * DAY),
        ("deploy.prune_every_seconds", deploy.prune_every_seconds, 1, 366 * DAY),
        ("deploy.free_after_seconds", deploy.free_after_seconds, 0, 366 * DAY),
    ]
}

#[rustfmt::skip] // a table is read by its columns
fn drafts(drafts: &Drafts) -> [Range; 7] {
    [
        // Proxies and CDNs in front of us take bodies of at most 100 MB.
        ("drafts.part_bytes", drafts.part_bytes, 64 * KIB, 100_000_000),
        ("drafts.max_open", drafts.max_open as u64, 1, 500),
        ("drafts.max_files", drafts.max_files as u64, 1, 100_000),
        ("drafts.expire_seconds", drafts.expire_seconds, MINUTE, 30 * DAY),
        ("drafts.parts_in_flight", drafts.parts_in_flight as u64, 1, 256),
        ("drafts.completes_in_flight", drafts.completes_in_flight as u64, 1, 64),
        ("drafts.presigned_seconds", drafts.presigned_seconds, 1, HOUR),
    ]
}

#[rustfmt::skip] // a table is read by its columns
fn retention(app: &App) -> [Range; 3] {
    let retention = &app.retention;
    [
        ("apps.<name>.retention.keep_versions", u64::from(retention.keep_versions), 0, 1_000_000),
        ("apps.<name>.retention.keep_days", u64::from(retention.keep_days), 0, 36_500),
        ("apps.<name>.retention.keep_blockmaps_days", u64::from(retention.keep_blockmaps_days), 0, 36_500),
    ]
}

#[rustfmt::skip] // a table is read by its columns
fn others(updates: &Updates, audit: &Audit) -> [Range; 3] {
    [
        ("updates.max_ranges", updates.max_ranges as u64, 1, 10_000),
        ("audit.max_file_bytes", audit.max_file_bytes, 64 * KIB, 4 * GIB),
        ("audit.keep_days", u64::from(audit.keep_days), 1, 36_500),
    ]
}
