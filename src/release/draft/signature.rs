//! The signatures of a Tauri app, held against its public key before its clients do that.
//!
//! A `.sig` file beside a bundle, and `signature` in the static JSON, are the base64 of a minisign signature
//! (<https://v2.tauri.app/plugin/updater/#signing-updates>, <https://jedisct1.github.io/minisign/>).

use std::collections::{BTreeMap, HashMap};

use base64_simd::STANDARD;
use futures_util::StreamExt;
use minisign_verify::{PublicKey, Signature};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::error::Lost;
use super::{DraftError, Drafts};
use crate::release::intake::INLINE_BYTES;
use crate::release::manifest::resolve;
use crate::release::path::ReleasePath;
use crate::release::record::{ContentKey, Warning};
use crate::release::staging::StagedFile;
use crate::release::state::Tree;
use crate::tasks;

/// A signature has some four hundred bytes.
const SIGNATURE_BYTES: u64 = 64 * 1024;

/// A signature, where it stands, and what it is of.
struct Claim {
    /// The file that holds the signature.
    path: ReleasePath,
    /// As it stands there: base64.
    signature: String,
    signed: ReleasePath,
}

/// Why clients would refuse a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Doubt {
    #[error("is not a signature of minisign in base64")]
    Unreadable,
    #[error("is a signature of the old form, which is not checked here; sign with a current tool")]
    Legacy,
    #[error("is by another key than `tauri_public_key`")]
    OtherKey,
    #[error("does not fit the file")]
    Wrong,
}

/// Tauri's static JSON, as far as it signs.
#[derive(Deserialize)]
struct Document {
    platforms: BTreeMap<String, Bundle>,
}

#[derive(Deserialize)]
struct Bundle {
    url: String,
    signature: String,
}

impl Drafts {
    /// What is wrong with the signatures among `files`, of these and of published files.
    pub(super) async fn doubts(
        &self,
        files: &[StagedFile],
        tree: &Tree,
        key: &PublicKey,
    ) -> Result<Vec<Warning>, DraftError> {
        let mut contents: HashMap<&ReleasePath, ContentKey> = HashMap::new();
        contents.extend(tree.files().map(|file| (&file.path, file.content)));
        contents.extend(files.iter().map(|file| (&file.path, file.content)));
        let mut doubts = Vec::new();
        for claim in self.claims(files, &contents).await? {
            let Some(content) = contents.get(&claim.signed) else {
                continue;
            };
            if let Some(doubt) = self.verify(*content, &claim.signature, key).await? {
                let message = format!("the signature of `{}` {doubt}", claim.signed);
                doubts.push(Warning {
                    path: claim.path,
                    message,
                });
            }
        }
        Ok(doubts)
    }

    async fn claims(
        &self,
        files: &[StagedFile],
        contents: &HashMap<&ReleasePath, ContentKey>,
    ) -> Result<Vec<Claim>, DraftError> {
        let mut claims = Vec::new();
        for file in files {
            let name = file.path.as_str();
            let signed = name.strip_suffix(".sig").map(str::to_owned);
            if signed.is_some() && file.size <= SIGNATURE_BYTES {
                let text = self.text(file).await?;
                claims.extend(claim(&file.path, signed, text.trim()));
            } else if name.ends_with(".json") && file.size <= INLINE_BYTES as u64 {
                let text = self.text(file).await?;
                let document = serde_json::from_str::<Document>(&text).ok(); // any other JSON signs nothing
                for bundle in document
                    .into_iter()
                    .flat_map(|document| document.platforms.into_values())
                {
                    let signed = named(&file.path, &bundle.url, contents);
                    claims.extend(claim(&file.path, signed, &bundle.signature));
                }
            }
        }
        Ok(claims)
    }

    /// What is no text reads as something that is no signature.
    async fn text(&self, file: &StagedFile) -> Result<String, DraftError> {
        let bytes = match &file.inline {
            Some(bytes) => bytes.clone(),
            None => self.store().read(&file.content.key(), INLINE_BYTES).await?,
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn verify(
        &self,
        content: ContentKey,
        signature: &str,
        key: &PublicKey,
    ) -> Result<Option<Doubt>, DraftError> {
        let Some(signature) = decode(signature) else {
            return Ok(Some(Doubt::Unreadable));
        };
        let (drafts, key) = (self.clone(), key.clone());
        let work = move || drafts.verify_here(content, &signature, &key);
        let verified = tasks::blocking("draft-verify", work).await;
        verified.map_err(Lost::Task)?
    }

    /// Runs on a thread that may block.
    fn verify_here(
        &self,
        content: ContentKey,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<Option<Doubt>, DraftError> {
        let room = &self.shared.room;
        let mut verifier = match key.verify_stream(signature) {
            Ok(verifier) => verifier,
            Err(error) => return Ok(Some(doubt(&error))),
        };
        let object = room
            .background
            .block_on(room.store.get(&content.key(), None))?;
        let mut chunks = object.into_stream();
        while let Some(chunk) = room.background.block_on(chunks.next()) {
            verifier.update(&chunk?);
        }
        Ok(verifier.finalize().err().map(|error| doubt(&error)))
    }
}

fn claim(path: &ReleasePath, signed: Option<String>, signature: &str) -> Option<Claim> {
    Some(Claim {
        path: path.clone(),
        signature: signature.to_owned(),
        signed: ReleasePath::parse(&signed?).ok()?, // no path of ours, no file of ours
    })
}

/// The file that a URL in the manifest means: one beside it, or at whatever address the one whose path ends the URL's.
fn named(
    manifest: &ReleasePath,
    url: &str,
    contents: &HashMap<&ReleasePath, ContentKey>,
) -> Option<String> {
    if let Some(path) = resolve(manifest, url) {
        return Some(path);
    }
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let address = percent_decode_str(address).decode_utf8_lossy();
    let ends = |path: &str| {
        let rest = address.strip_suffix(path);
        rest.is_some_and(|rest| rest.ends_with('/'))
    };
    // The feed leaves `releases/` out.
    let fits = |path: &str| ends(path) || path.strip_prefix("releases/").is_some_and(ends);
    let mut paths = contents.keys().map(|path| path.as_str());
    paths.find(|path| fits(path)).map(str::to_owned)
}

fn decode(text: &str) -> Option<Signature> {
    // What cannot be read has a doubt of its own.
    let text = STANDARD.decode_to_vec(text).ok()?;
    Signature::decode(std::str::from_utf8(&text).ok()?).ok()
}

fn doubt(error: &minisign_verify::Error) -> Doubt {
    use minisign_verify::Error;
    match error {
        Error::UnexpectedKeyId => Doubt::OtherKey,
        Error::UnsupportedLegacyMode => Doubt::Legacy,
        Error::InvalidSignature => Doubt::Wrong,
        Error::InvalidEncoding
        | Error::IoError(_)
        | Error::UnexpectedAlgorithm
        | Error::UnsupportedAlgorithm => Doubt::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::record::ReleaseId;

    #[test]
    fn a_url_means_a_file_beside_the_manifest_or_the_one_that_it_ends_with() {
        let id = ReleaseId::generate();
        let paths = ["releases/mac/A b.tar.gz", "releases/win/A.exe"]
            .map(|path| ReleasePath::parse(path).unwrap());
        let contents: HashMap<&ReleasePath, ContentKey> = paths
            .iter()
            .map(|path| (path, ContentKey { id, index: 0 }))
            .collect();
        let manifest = ReleasePath::parse("releases/latest.json").unwrap();
        for (url, path) in [
            ("mac/A%20b.tar.gz", Some("releases/mac/A b.tar.gz")),
            (
                "https://cdn.example/prod/releases/mac/A%20b.tar.gz?x",
                Some("releases/mac/A b.tar.gz"),
            ),
            (
                "https://app.example/updates/win/A.exe",
                Some("releases/win/A.exe"),
            ),
            ("https://app.example/updates/darwin/A.exe", None),
            ("https://elsewhere.example/A.exe", None),
        ] {
            assert_eq!(named(&manifest, url, &contents).as_deref(), path, "{url}");
        }
    }
}
