//! One manifest out of those that several jobs wrote for one path.
//!
//! Pure. What every job says alike stays so; where jobs may differ each format says below what becomes of it. The
//! outcome depends on the jobs' names and contents, not on who came first.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::release::document::{self, Document};
use crate::release::path::ReleasePath;

/// The manifests by the names of their jobs.
pub type ByJob<'a> = BTreeMap<&'a str, &'a [u8]>;

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Not a manifest of any format that can be merged.
    #[error(
        "the jobs `{first}` and `{second}` declared different contents, and they are no manifests that can be merged"
    )]
    Foreign { first: String, second: String },
    #[error("the job `{job}` sent a manifest that cannot be read")]
    Unreadable { job: String },
    #[error("the jobs `{first}` and `{second}` do not have the same version")]
    Version { first: String, second: String },
    #[error("the jobs `{first}` and `{second}` say different things of `{name}`")]
    Differs {
        first: String,
        second: String,
        name: String,
    },
    #[error("the merged manifest cannot be written")]
    Write,
}

type Documents<'a> = BTreeMap<&'a str, Document>;

/// Merges manifests of one path, at least one.
pub fn merge(path: &ReleasePath, manifests: &ByJob<'_>) -> Result<Vec<u8>, MergeError> {
    let mut documents = Documents::new();
    for (job, text) in manifests {
        let unreadable = || MergeError::Unreadable {
            job: (*job).to_owned(),
        };
        let read = document::read(path, text);
        documents.insert(job, read.ok_or_else(unreadable)?);
    }
    let is_tauri = |document: &Document| document.get("platforms").is_some_and(Value::is_object);
    let merged = if path.is_electron_channel() {
        electron(&documents)?
    } else if documents.values().all(is_tauri) {
        tauri(&documents)?
    } else if path.file_name() == "version.json" {
        version(&documents)?
    } else {
        return Err(foreign(&documents));
    };
    document::write(path, &merged).ok_or(MergeError::Write)
}

fn foreign(documents: &Documents<'_>) -> MergeError {
    let mut jobs = documents.keys().map(|job| (*job).to_owned());
    MergeError::Foreign {
        first: jobs.next().unwrap_or_default(),
        second: jobs.next().unwrap_or_default(),
    }
}

/// electron-builder: `files` united by `url`. `path` and `sha512` at the top, which only clients read that do not know
/// `files`, are those of one job: of the first whose file is not for arm64, since such clients never are.
fn electron(documents: &Documents<'_>) -> Result<Document, MergeError> {
    same_version(documents)?;
    let mut merged = united(documents, &["files", "path", "sha512", "releaseDate"]);
    let mut files: Vec<(&str, Document)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (job, document) in documents {
        for file in entries(document).ok_or_else(|| MergeError::Unreadable {
            job: (*job).to_owned(),
        })? {
            let url = text(&file, "url");
            match places.get(url).and_then(|place| files.get(*place)) {
                None => {
                    places.insert(url.to_owned(), files.len());
                    files.push((job, file));
                }
                Some((_, known)) if *known == file => {}
                Some((first, _)) => return Err(differs(first, job, text(&file, "url"))),
            }
        }
    }
    let older = documents
        .values()
        .filter(|document| document.contains_key("path"));
    let is_arm = |document: &&Document| text(document, "path").contains("arm64");
    let top = older.clone().find(|document| !is_arm(document));
    if let Some(top) = top.or_else(|| older.clone().next()) {
        for name in ["path", "sha512"] {
            if let Some(value) = top.get(name) {
                merged.insert(name.to_owned(), value.clone());
            }
        }
    }
    let files = files.into_iter().map(|(_, file)| Value::Object(file));
    merged.insert("files".to_owned(), files.collect());
    latest(documents, "releaseDate", &mut merged);
    Ok(merged)
}

/// The files that a channel file names: before electron-builder 20 the one at the top was all. `None` when one has no
/// name.
fn entries(document: &Document) -> Option<Vec<Document>> {
    let mut entries = Vec::new();
    for file in document
        .get("files")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let file = file.as_object()?;
        file.get("url")?.as_str()?;
        entries.push(file.clone());
    }
    if entries.is_empty()
        && let Some(path) = document.get("path")
    {
        let mut file = Document::new();
        path.as_str()?;
        file.insert("url".to_owned(), path.clone());
        if let Some(sha512) = document.get("sha512") {
            file.insert("sha512".to_owned(), sha512.clone());
        }
        entries.push(file);
    }
    Some(entries)
}

/// Tauri's static JSON: `platforms` united by name.
fn tauri(documents: &Documents<'_>) -> Result<Document, MergeError> {
    same_version(documents)?;
    let mut merged = united(documents, &["platforms", "pub_date"]);
    let mut platforms: BTreeMap<&str, (&str, &Value)> = BTreeMap::new();
    for (job, document) in documents {
        let own = document.get("platforms").and_then(Value::as_object);
        for (name, platform) in own.into_iter().flatten() {
            match platforms.insert(name, (job, platform)) {
                Some((first, other)) if other != platform => {
                    return Err(differs(first, job, name));
                }
                _ => {}
            }
        }
    }
    let platforms = platforms.into_iter();
    let platforms = platforms.map(|(name, (_, platform))| (name.to_owned(), platform.clone()));
    merged.insert("platforms".to_owned(), Value::Object(platforms.collect()));
    latest(documents, "pub_date", &mut merged);
    Ok(merged)
}

/// `version.json`, an object of the product's own making: members united, objects in it too.
fn version(documents: &Documents<'_>) -> Result<Document, MergeError> {
    same_version(documents)?;
    Ok(united(documents, &[]))
}

fn same_version(documents: &Documents<'_>) -> Result<(), MergeError> {
    let mut documents = documents.iter();
    let Some((first, document)) = documents.next() else {
        return Ok(());
    };
    let version = document.get("version");
    match documents.find(|(_, other)| other.get("version") != version) {
        None => Ok(()),
        Some((second, _)) => Err(MergeError::Version {
            first: (*first).to_owned(),
            second: (*second).to_owned(),
        }),
    }
}

/// All members but those that are `left_out`; where values differ the first job's stays.
fn united(documents: &Documents<'_>, left_out: &[&str]) -> Document {
    let mut merged = Document::new();
    for document in documents.values() {
        let wanted = document
            .iter()
            .filter(|(name, _)| !left_out.contains(&name.as_str()));
        unite(&mut merged, wanted);
    }
    merged
}

fn unite<'a>(into: &mut Document, members: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (name, value) in members {
        match (into.get_mut(name), value) {
            (None, value) => {
                into.insert(name.clone(), value.clone());
            }
            // As deep as the parser lets documents be.
            (Some(Value::Object(inner)), Value::Object(more)) => unite(inner, more.iter()),
            _ => {}
        }
    }
}

/// RFC 3339 times of one form sort as text.
fn latest(documents: &Documents<'_>, name: &str, merged: &mut Document) {
    let times = documents.values().filter_map(|document| document.get(name));
    if let Some(time) = times.max_by_key(|time| time.as_str()) {
        merged.insert(name.to_owned(), time.clone());
    }
}

fn text<'a>(document: &'a Document, name: &str) -> &'a str {
    document
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn differs(first: &str, second: &str, name: &str) -> MergeError {
    MergeError::Differs {
        first: first.to_owned(),
        second: second.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
