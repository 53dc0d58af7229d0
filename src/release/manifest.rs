//! What a manifest says, in the terms that all formats share: a version, and files that clients will fetch.

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::path::{ReleasePath, normalised};
use super::tauri;

/// A manifest as far as it can be held against the files it names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub versions: Vec<String>,
    pub names: Vec<Named>,
    /// Whether Squirrel.Mac reads it, which installs from a .zip only.
    pub for_mac: bool,
    /// Whether electron-updater reads it, which downloads differences by block map.
    pub differential: bool,
    /// Whether its format has a version at all.
    pub versioned: bool,
    /// What is new, in plain text or Markdown.
    pub notes: Option<String>,
    /// When it was published, by its own word.
    pub date: Option<Timestamp>,
}

/// A file that a manifest names, by a URL relative to the manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub url: String,
    pub size: Option<u64>,
    pub hash: Hash,
    /// The block map is inside the file, of this many bytes.
    pub embedded_blockmap: bool,
}

/// As written, in whatever encoding the format has.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Hash {
    /// The format has none that we take.
    #[default]
    Unknown,
    /// The format demands one.
    Missing,
    Sha512Base64(String),
    Sha256Hex(String),
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("is not UTF-8 text")]
    Text(#[source] std::str::Utf8Error),
    #[error("is not the YAML of an update manifest")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    #[error("is not the JSON of an update manifest")]
    Json(#[source] serde_json::Error),
    #[error("line {0} is not a hash, a file name and a size")]
    Releases(usize),
}

/// Reads the manifest stored under `path`; `None` for what is in no format of ours.
pub fn parse(path: &ReleasePath, bytes: &[u8]) -> Option<Result<Manifest, ManifestError>> {
    if !path.is_manifest() {
        return None;
    }
    let name = path.file_name();
    let parsed = || {
        let text = std::str::from_utf8(bytes).map_err(ManifestError::Text)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if name.ends_with(".yml") {
            electron(name, text)
        } else if name.starts_with("RELEASES") {
            squirrel(text)
        } else if name == "version.json" {
            version(text)
        } else if path.is_tauri_manifest() {
            tauri(text)
        } else {
            velopack(text)
        }
    };
    (!name.ends_with(".yml") || is_channel_name(name) || is_channel(bytes)).then(parsed)
}

/// Whether electron-builder gives this name to nothing but a channel file.
fn is_channel_name(name: &str) -> bool {
    name.starts_with("latest")
        || name.ends_with("-mac.yml")
        || name.contains("-linux")
        || matches!(name, "alpha.yml" | "beta.yml")
}

/// Whether a document of any name is a channel file: a channel may be called anything, but so may settings that lie
/// beside it.
fn is_channel(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Outline {
        version: Option<IgnoredAny>,
        files: Option<IgnoredAny>,
        path: Option<IgnoredAny>,
    }
    let outline = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| serde_saphyr::from_str::<Outline>(text).ok());
    outline.is_some_and(|outline| {
        outline.version.is_some() && (outline.files.is_some() || outline.path.is_some())
    })
}

/// In electron-builder's manifests: a text, or one for each version.
#[derive(Deserialize)]
#[serde(untagged)]
enum Notes {
    Text(String),
    Versions(Vec<VersionNote>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct VersionNote {
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Other(IgnoredAny),
}

/// `latest[-mac|-linux[-arch]].yml` of electron-builder.
fn electron(name: &str, text: &str) -> Result<Manifest, ManifestError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Channel {
        version: String,
        #[serde(default)]
        files: Vec<Entry>,
        path: Option<String>,
        sha512: Option<String>,
        // Nothing that clients need: whatever stands in them, the rest counts.
        #[serde(default)]
        release_notes: Option<Notes>,
        #[serde(default)]
        release_date: Option<Text>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        url: String,
        sha512: Option<String>,
        size: Option<u64>,
        block_map_size: Option<u64>,
    }
    let channel: Channel =
        serde_saphyr::from_str(text).map_err(|error| ManifestError::Yaml(Box::new(error)))?;
    let hash = |sha512: Option<String>| sha512.map_or(Hash::Missing, Hash::Sha512Base64);
    let mut names: Vec<Named> = channel
        .files
        .into_iter()
        .map(|entry| Named {
            url: entry.url,
            size: entry.size,
            hash: hash(entry.sha512),
            embedded_blockmap: entry.block_map_size.is_some(),
        })
        .collect();
    // The form before electron-builder 20; newer ones repeat the first file in it for old clients.
    if let Some(url) = channel.path
        && names.iter().all(|named| named.url != url)
    {
        names.push(Named {
            url,
            hash: hash(channel.sha512),
            ..Named::default()
        });
    }
    Ok(Manifest {
        versions: vec![channel.version],
        names,
        for_mac: name.ends_with("-mac.yml"),
        differential: true,
        versioned: true,
        notes: match channel.release_notes {
            Some(Notes::Text(text)) => Some(text),
            // The newest version's stand first.
            Some(Notes::Versions(notes)) => notes.into_iter().find_map(|version| version.note),
            Some(Notes::Other(_)) | None => None,
        },
        date: match channel.release_date {
            Some(Text::Text(text)) => text.parse().ok(), // no time, no date
            Some(Text::Other(_)) | None => None,
        },
    })
}

/// Squirrel.Windows: a line `<SHA-1> <file name or URL> <size>` per package.
fn squirrel(text: &str) -> Result<Manifest, ManifestError> {
    let mut names = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let mut words = line.split_whitespace();
        let (sha1, url, size) = (words.next(), words.next(), words.next().map(str::parse));
        match (sha1, url, size, words.next()) {
            (Some(sha1), Some(url), Some(Ok(size)), None)
                if sha1.len() == 40 && sha1.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                names.push(Named {
                    url: url.to_owned(),
                    size: Some(size),
                    ..Named::default()
                });
            }
            _ => return Err(ManifestError::Releases(index + 1)),
        }
    }
    Ok(Manifest {
        names,
        ..Manifest::default()
    })
}

/// `releases.<channel>.json` of Velopack.
fn velopack(text: &str) -> Result<Manifest, ManifestError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Feed {
        assets: Vec<Asset>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Asset {
        version: String,
        file_name: String,
        size: Option<u64>,
        #[serde(rename = "SHA256")]
        sha256: Option<String>,
    }
    let feed: Feed = serde_json::from_str(text).map_err(ManifestError::Json)?;
    let mut manifest = Manifest {
        versioned: true,
        ..Manifest::default()
    };
    for asset in feed.assets {
        manifest.versions.push(asset.version);
        manifest.names.push(Named {
            url: asset.file_name,
            size: asset.size,
            hash: asset.sha256.map_or(Hash::Unknown, Hash::Sha256Hex),
            embedded_blockmap: false,
        });
    }
    Ok(manifest)
}

/// Tauri's static JSON. Its signatures are those of the files that it names, and say nothing about their bytes here.
fn tauri(text: &str) -> Result<Manifest, ManifestError> {
    let document: tauri::Document = serde_json::from_str(text).map_err(ManifestError::Json)?;
    let names = document.platforms.into_values();
    Ok(Manifest {
        versions: vec![document.version.trim_start_matches('v').to_owned()],
        names: names
            .map(|bundle| Named {
                url: bundle.url,
                ..Named::default()
            })
            .collect(),
        versioned: true,
        notes: document.notes,
        date: document.pub_date.and_then(|date| date.parse().ok()), // no time, no date
        ..Manifest::default()
    })
}

/// `version.json`: an object of the product's own making; a `version` in it has to be one.
fn version(text: &str) -> Result<Manifest, ManifestError> {
    #[derive(Deserialize)]
    struct Version {
        version: Option<String>,
    }
    let version: Version = serde_json::from_str(text).map_err(ManifestError::Json)?;
    Ok(Manifest {
        versions: version.version.into_iter().collect(),
        ..Manifest::default()
    })
}

/// The published path that `url` means beside `manifest`; `None` when it leads to another server.
pub fn resolve(manifest: &ReleasePath, url: &str) -> Option<String> {
    if url.contains("://") || url.starts_with("//") {
        return None;
    }
    let name = url.split(['?', '#']).next().unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    let mut segments: Vec<&str> = manifest.as_str().split('/').collect();
    segments.pop();
    for segment in name.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    Some(normalised(&segments.join("/")).into_owned())
}

/// Whether a client that has `manifest` from `/updates/`, which is `releases/` alone, looks for `url` above that: what
/// [`resolve`] finds there is not where the client asks.
pub fn leaves_updates(manifest: &ReleasePath, url: &str) -> bool {
    let Some(name) = manifest.as_str().strip_prefix("releases/") else {
        return false;
    };
    let mut depth = name.matches('/').count();
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let url = percent_decode_str(url).decode_utf8_lossy();
    for segment in url.split('/') {
        match segment {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// The published path that `url` means: beside `manifest`, or as a whole address that ends like one of ours. Of another
/// server's file that is called the same it says so too.
pub fn published(
    manifest: &ReleasePath,
    url: &str,
    is_published: impl Fn(&str) -> bool,
) -> Option<String> {
    if let Some(path) = resolve(manifest, url) {
        return Some(path);
    }
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let address = percent_decode_str(address).decode_utf8_lossy();
    let address = normalised(&address);
    address.match_indices('/').find_map(|(at, _)| {
        let end = address.get(at + 1..)?;
        let path = match end.strip_prefix("updates/") {
            Some(name) => format!("releases/{name}"),
            None => end.to_owned(),
        };
        (path.starts_with("releases/") && is_published(&path)).then_some(path)
    })
}

#[cfg(test)]
mod tests;
