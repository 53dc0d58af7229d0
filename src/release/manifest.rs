//! What a manifest says, in the terms that all formats share: a version, and files that clients will fetch.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::path::{ReleasePath, normalised};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ReleasePath {
        ReleasePath::parse(text).unwrap()
    }

    #[test]
    fn an_electron_builder_manifest_is_read_with_all_it_names() {
        let text = "version: 1.4.0\nfiles:\n  - url: Seance-1.4.0-arm64-mac.zip\n    sha512: QUJD\n    size: 12\n  - \
                    url: Seance-1.4.0-arm64.dmg\n    sha512: REVG\n    size: 34\npath: \
                    Seance-1.4.0-arm64-mac.zip\nsha512: QUJD\nreleaseDate: '2026-11-02T10:00:00.000Z'\nstagingPercentage: 10\n";
        let manifest = parse(
            &path("releases/darwin-arm64/latest-mac.yml"),
            text.as_bytes(),
        )
        .unwrap()
        .unwrap();
        assert_eq!(manifest.versions, ["1.4.0"]);
        assert!(manifest.for_mac && manifest.differential);
        let names: Vec<_> = manifest
            .names
            .iter()
            .map(|named| (named.url.as_str(), named.size))
            .collect();
        assert_eq!(
            names,
            [
                ("Seance-1.4.0-arm64-mac.zip", Some(12)),
                ("Seance-1.4.0-arm64.dmg", Some(34))
            ]
        );
        assert_eq!(
            manifest.names[0].hash,
            Hash::Sha512Base64("QUJD".to_owned())
        );
    }

    #[test]
    fn a_squirrel_releases_file_is_read_line_by_line() {
        let sha1 = "94689FEDE03FED7AB59C24337673A27837F0C3EC";
        let text = format!(
            "\u{feff}{sha1} Seance-1.0.0-full.nupkg 1004502\r\n# comment\r\n{sha1} Seance-1.1.0-delta.nupkg 5 # 10%\n"
        );
        let manifest = parse(&path("releases/win32/RELEASES"), text.as_bytes())
            .unwrap()
            .unwrap();
        let names: Vec<_> = manifest
            .names
            .iter()
            .map(|named| (named.url.as_str(), named.size))
            .collect();
        assert_eq!(
            names,
            [
                ("Seance-1.0.0-full.nupkg", Some(1_004_502)),
                ("Seance-1.1.0-delta.nupkg", Some(5))
            ]
        );
        let broken = parse(&path("releases/win32/RELEASES"), b"abc def\n").unwrap();
        assert!(matches!(broken, Err(ManifestError::Releases(1))));
    }

    #[test]
    fn a_velopack_feed_is_read() {
        let text = r#"{"Assets":[{"PackageId":"Seance","Version":"1.0.1","Type":"Full","FileName":"Seance-1.0.1-full.nupkg","SHA1":"00","SHA256":"AB","Size":7}]}"#;
        let manifest = parse(&path("releases/releases.win.json"), text.as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(manifest.versions, ["1.0.1"]);
        assert_eq!(manifest.names[0].hash, Hash::Sha256Hex("AB".to_owned()));
    }

    #[test]
    fn names_are_resolved_beside_their_manifest() {
        let manifest = path("releases/darwin-arm64/latest-mac.yml");
        for (url, resolved) in [
            ("Seance-1.zip", Some("releases/darwin-arm64/Seance-1.zip")),
            (
                "My%20App-1.zip?x=1",
                Some("releases/darwin-arm64/My App-1.zip"),
            ),
            ("../win/Seance.exe", Some("releases/win/Seance.exe")),
            (
                "Se%CC%81ance.zip",
                Some("releases/darwin-arm64/S\u{e9}ance.zip"),
            ),
            ("https://elsewhere.example/Seance-1.zip", None),
        ] {
            assert_eq!(resolve(&manifest, url).as_deref(), resolved, "{url}");
        }
    }

    #[test]
    fn only_manifests_are_parsed() {
        assert!(parse(&path("releases/x/Seance-1.0.0.zip"), b"").is_none());
        for (name, text) in [
            ("builder-debug", "x: 1"),
            ("settings", "hello: 1"),
            ("settings", "version: 1"),
            ("settings", "["),
        ] {
            let name = format!("releases/x/{name}.yml");
            assert!(parse(&path(&name), text.as_bytes()).is_none(), "{text}");
        }
        let canary = b"version: 1.0.0\npath: a.exe\nsha512: QUJD\n";
        assert!(parse(&path("releases/x/canary.yml"), canary).is_some_and(|read| read.is_ok()));
        assert!(parse(&path("releases/x/beta.yml"), b"hello: 1").is_some_and(|read| read.is_err()));
        assert!(
            parse(&path("releases/x/latest.yml"), b"- a\n- b\n")
                .unwrap()
                .is_err()
        );
        assert!(
            parse(&path("releases/x/latest.yml"), &[0xff])
                .unwrap()
                .is_err()
        );
        assert!(
            parse(&path("releases/version.json"), b"{}")
                .unwrap()
                .is_ok()
        );
    }
}
