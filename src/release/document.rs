//! A manifest as a document that can be changed: electron-builder's YAML, or JSON.

use serde_json::{Map, Value};

use super::path::ReleasePath;

pub type Document = Map<String, Value>;

/// `None` for what is no such document.
pub fn read(path: &ReleasePath, bytes: &[u8]) -> Option<Document> {
    if !path.is_electron_channel() {
        return serde_json::from_slice(bytes).ok(); // the caller tells whose it is
    }
    let text = std::str::from_utf8(bytes).ok()?; // the caller tells whose it is
    serde_saphyr::from_str(text.trim_start_matches('\u{feff}')).ok()
}

/// `None` when it has something that cannot be written.
pub fn write(path: &ReleasePath, document: &Document) -> Option<Vec<u8>> {
    if path.is_electron_channel() {
        let text = serde_saphyr::to_string(document).ok()?; // the caller says that it cannot be written
        return Some(text.into_bytes());
    }
    let mut text = serde_json::to_vec_pretty(document).ok()?; // the caller says that it cannot be written
    text.push(b'\n');
    Some(text)
}
