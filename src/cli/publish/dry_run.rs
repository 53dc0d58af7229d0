//! What would be published, held against the daemon's own checks without asking it.

use std::collections::HashMap;

use bytes::Bytes;

use super::digest::Item;
use super::mapping::TEXT_BYTES;
use crate::cli::client::Content;
use crate::clock;
use crate::release::lint::Lintable;
use crate::release::{ContentKey, File, ReleaseId};

/// What is wrong with the manifests among `items`, path and reason. They are held against these files only: what the
/// daemon has besides is not known here.
pub fn findings(items: &[Item]) -> Vec<(String, String)> {
    let files: HashMap<&str, File> = items
        .iter()
        .filter_map(|item| Some((item.path.as_str(), file(item)?)))
        .collect();
    let lookup = |path: &str| files.get(path);
    items
        .iter()
        .filter_map(|item| Lintable::new(&item.path, text(item).as_deref(), item.size))
        .filter(|manifest| !manifest.is_unread())
        .flat_map(|manifest| manifest.warnings(lookup))
        .map(|warning| (warning.path.to_string(), warning.message))
        .collect()
}

/// As it would be recorded.
fn file(item: &Item) -> Option<File> {
    Some(File {
        path: item.path.clone(),
        content: ContentKey {
            id: ReleaseId::generate(),
            index: 0,
        },
        size: item.size,
        sha256: item.sha256,
        sha512: item.sha512?,
        content_type: String::new(),
        cache_control: String::new(),
        modified: clock::now(),
        inline: None,
        unchanged: false,
    })
}

/// The text of a manifest; whatever else the bytes may be.
fn text(item: &Item) -> Option<Bytes> {
    let bytes = match &item.content {
        _ if !item.path.is_manifest() || item.size > TEXT_BYTES => return None,
        Content::Memory(bytes) => bytes.clone(),
        // It was hashed a moment ago; that it is gone since is said as if it were no text.
        Content::Disk(path) => Bytes::from(std::fs::read(path).ok()?),
    };
    std::str::from_utf8(&bytes).is_ok().then_some(bytes)
}
