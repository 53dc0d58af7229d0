//! How far a manifest spreads: which of the clients that poll it get it, and what the others get.
//!
//! Pure. The share grows by records of the log only, so that all nodes answer alike.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::{File, Rollout, SpreadOf};

/// A manifest that does not reach every client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub rollout: Rollout,
    /// What the other clients get.
    pub before: Arc<File>,
    /// The manifest with the share written into it, for clients that judge for themselves.
    pub staged: Arc<File>,
    /// Whether it stays so when another version is published.
    pub pinned: bool,
}

/// The place of a client among all, from the UUID that electron-updater sends as `x-user-staging-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagingId(u32);

impl StagingId {
    /// `None` for what is no UUID.
    pub fn parse(text: &str) -> Option<StagingId> {
        let bytes = uuid::Uuid::try_parse(text.trim()).ok()?.into_bytes(); // no UUID, no place
        let last = bytes.last_chunk::<4>()?;
        Some(StagingId(u32::from_be_bytes(*last)))
    }

    /// electron-updater's own rule (`AppUpdater.isStagingMatch`), so that its judgement and ours agree: the last four
    /// bytes as a share of 2³² − 1. Who is within a share is within every larger one.
    pub fn is_within(self, percentage: u8) -> bool {
        f64::from(self.0) / f64::from(u32::MAX) < f64::from(percentage) / 100.0
    }
}

impl Spread {
    /// `None` when `change` lets the manifest reach everybody.
    pub fn new(published: &Arc<File>, change: &SpreadOf) -> Option<Spread> {
        let before = change.before.clone()?;
        Some(Spread {
            staged: staged(published, change.rollout.percentage),
            rollout: change.rollout.clone(),
            before,
            pinned: change.pinned,
        })
    }

    /// What a client gets. Who shows no place gets the new manifest last.
    pub fn file(&self, client: Option<StagingId>) -> &Arc<File> {
        match client {
            Some(client) if client.is_within(self.rollout.percentage) => &self.staged,
            _ => &self.before,
        }
    }

    /// What a CDN serves, which cannot tell clients apart: the manifest that tells them to judge for themselves, where
    /// its format can.
    pub fn public(&self) -> &Arc<File> {
        if self.rollout.percentage > 0 && self.staged.path.is_electron_channel() {
            &self.staged
        } else {
            &self.before
        }
    }
}

/// The manifest with `stagingPercentage`, where its format has one.
fn staged(file: &Arc<File>, percentage: u8) -> Arc<File> {
    let text = file
        .inline
        .as_deref()
        .filter(|_| file.path.is_electron_channel())
        .and_then(|bytes| std::str::from_utf8(bytes).ok()); // what is no text is left as it is
    // A flow mapping takes no line at its end; electron-builder writes none.
    let Some(text) = text.filter(|text| !text.trim_start().starts_with(['{', '['])) else {
        return file.clone();
    };
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("stagingPercentage:"))
        .collect();
    let share = format!("stagingPercentage: {percentage}\n");
    lines.push(&share);
    let bytes = Bytes::from(lines.join("\n"));
    let mut staged = File {
        size: bytes.len() as u64,
        ..File::clone(file)
    };
    staged
        .sha256
        .copy_from_slice(digest(&SHA256, &bytes).as_ref());
    staged
        .sha512
        .copy_from_slice(digest(&SHA512, &bytes).as_ref());
    staged.inline = Some(bytes);
    Arc::new(staged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::record::tests::file;

    fn spread(percentage: u8) -> Spread {
        let new = file(
            "releases/win/latest.yml",
            b"version: 2.0.0\nstagingPercentage: 3\nfiles: []\n",
        );
        let old = file("releases/win/latest.yml", b"version: 1.0.0\n");
        let change = SpreadOf {
            path: new.path.clone(),
            rollout: Rollout {
                percentage,
                steps: Vec::new(),
            },
            before: Some(Arc::new(old)),
            pinned: false,
        };
        Spread::new(&Arc::new(new), &change).unwrap()
    }

    fn text(file: &File) -> &str {
        std::str::from_utf8(file.inline.as_deref().unwrap()).unwrap()
    }

    /// Values that `isStagingMatch` of electron-updater 6.8 gives for the UUID's last four bytes.
    #[test]
    fn a_client_has_the_place_that_electron_updater_gives_it() {
        let within = |id: &str, percentage| StagingId::parse(id).unwrap().is_within(percentage);
        let first = "6f2b3a10-1c5d-5e8f-9a0b-112200000000";
        let tenth = "6f2b3a10-1c5d-5e8f-9a0b-112219999999";
        let last = "6f2b3a10-1c5d-5e8f-9a0b-1122ffffffff";
        assert!(!within(first, 0) && within(first, 1));
        assert!(within(tenth, 10) == (f64::from(0x1999_9999_u32) / f64::from(u32::MAX) < 0.1));
        assert!(within(tenth, 11) && !within(tenth, 9));
        assert!(!within(last, 100));
        assert_eq!(StagingId::parse("nobody"), None);
    }

    #[test]
    fn the_share_is_written_into_the_manifest_once() {
        let spread = spread(10);
        assert_eq!(
            text(&spread.staged),
            "version: 2.0.0\nfiles: []\nstagingPercentage: 10\n"
        );
        assert_ne!(spread.staged.etag(), spread.before.etag());
        assert_eq!(spread.public(), &spread.staged);
        let halted = self::spread(0);
        assert_eq!(halted.public(), &halted.before);
    }

    #[test]
    fn who_shows_no_place_gets_the_manifest_from_before() {
        assert_eq!(text(spread(99).file(None)), "version: 1.0.0\n");
    }

    proptest! {
        #[test]
        fn a_larger_share_takes_the_update_from_nobody(id in any::<[u8; 16]>(), less in 0u8..=100, more in 0u8..=100) {
            let client = StagingId::parse(&uuid::Uuid::from_bytes(id).to_string()).unwrap();
            let (less, more) = (less.min(more), less.max(more));
            prop_assert!(!client.is_within(less) || client.is_within(more));
        }
    }
}
