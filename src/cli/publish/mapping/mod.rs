//! From the files of a build to the paths they are published under.

mod electron;
pub mod names;
mod tauri;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::release::path::{PathError, ReleasePath};

/// A file larger than this is not a manifest and is not read for its text, bytes.
pub const TEXT_BYTES: u64 = 1024 * 1024;
/// Directories of a site that lie within each other.
const DEPTH: usize = 64;

/// A file of the build directory; its name is relative to that, with `/` between directories.
#[derive(Clone, Debug)]
pub struct Found {
    pub name: String,
    pub path: PathBuf,
    pub size: u64,
}

/// Where each file of a build goes, and which ones stay behind.
#[derive(Debug, Default)]
pub struct Placed {
    pub files: BTreeMap<ReleasePath, Found>,
    pub skipped: Vec<String>,
    wrong: Option<MappingError>,
}

#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the name of {} is not UTF-8", .0.display())]
    Name(PathBuf),
    #[error("{} has more than {DEPTH} directories within each other", .0.display())]
    Deep(PathBuf),
    #[error("{name} cannot be published as `{path}`")]
    Path {
        name: String,
        path: String,
        #[source]
        source: PathError,
    },
    #[error("both {one} and {other} would be `{path}`")]
    Twice {
        path: ReleasePath,
        one: String,
        other: String,
    },
    #[error("`{0}` is not a platform: it becomes one directory below releases/")]
    Platform(String),
}

impl Placed {
    fn put(&mut self, file: &Found, directory: &str, name: &str) {
        self.put_at(file, &format!("releases/{directory}/{name}"));
    }

    /// The first thing that is wrong is kept for [`Placed::finish`].
    fn put_at(&mut self, file: &Found, path: &str) {
        let parsed = match ReleasePath::parse(path) {
            Ok(parsed) => parsed,
            Err(source) => {
                self.wrong.get_or_insert(MappingError::Path {
                    name: file.name.clone(),
                    path: path.to_owned(),
                    source,
                });
                return;
            }
        };
        if let Some(before) = self.files.insert(parsed.clone(), file.clone()) {
            self.wrong.get_or_insert(MappingError::Twice {
                path: parsed,
                one: before.name,
                other: file.name.clone(),
            });
        }
    }

    fn skip(&mut self, file: &Found) {
        self.skipped.push(file.name.clone());
    }

    fn finish(self) -> Result<Placed, MappingError> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(self),
        }
    }
}

/// Maps the output directory of electron-builder or Tauri. `platform` is the directory below `releases/`, when the names
/// of the files are not to decide.
pub fn build(directory: &Path, platform: Option<&str>) -> Result<Placed, MappingError> {
    if let Some(platform) = platform
        && (platform.contains('/') || ReleasePath::parse(platform).is_err())
    {
        return Err(MappingError::Platform(platform.to_owned()));
    }
    let found = listed(directory)?;
    let read = |name: &str| {
        let path = directory.join(name);
        let small = fs::metadata(&path).is_ok_and(|file| file.len() <= TEXT_BYTES);
        // One that cannot be read is found out when it is hashed.
        small.then(|| fs::read(&path).ok()).flatten()
    };
    let placed = if tauri::is_bundle(&found) {
        tauri::place(&found, platform, &triple(directory), read)
    } else {
        electron::place(&found, platform, read)
    };
    placed.finish()
}

/// Maps a static site: everything below `directory` but hidden files, which are never served.
pub fn site(directory: &Path) -> Result<Placed, MappingError> {
    let mut placed = Placed::default();
    let mut pending = vec![(directory.to_owned(), String::new(), 0)];
    while let Some((at, prefix, depth)) = pending.pop() {
        if depth > DEPTH {
            return Err(MappingError::Deep(directory.to_owned()));
        }
        for (name, path, kind) in entries(&at)? {
            let name = format!("{prefix}{name}");
            let hidden = path.file_name().is_some_and(|base| {
                base.as_encoded_bytes().starts_with(b".") && base != ".well-known"
            });
            match kind {
                _ if hidden => placed.skipped.push(name),
                // A link to a directory may lead back to one above it.
                Kind::Directory { link: false } => {
                    pending.push((path, format!("{name}/"), depth + 1))
                }
                Kind::File { size } => {
                    let web = format!("web/{name}");
                    placed.put_at(&Found { name, path, size }, &web);
                }
                Kind::Directory { link: true } | Kind::Other => placed.skipped.push(name),
            }
        }
    }
    placed.finish()
}

enum Kind {
    File { size: u64 },
    Directory { link: bool },
    Other,
}

/// The files of a directory, and of those right below it that are not unpacked apps.
fn listed(directory: &Path) -> Result<Vec<Found>, MappingError> {
    let mut found = Vec::new();
    let mut below = Vec::new();
    for (name, path, kind) in entries(directory)? {
        match kind {
            _ if name.starts_with('.') => {}
            Kind::File { size } => found.push(Found { name, path, size }),
            Kind::Directory { .. } if !name.ends_with("-unpacked") => below.push((name, path)),
            Kind::Directory { .. } | Kind::Other => {}
        }
    }
    for (parent, path) in below {
        for (name, path, kind) in entries(&path)? {
            if let Kind::File { size } = kind
                && !name.starts_with('.')
            {
                let name = format!("{parent}/{name}");
                found.push(Found { name, path, size });
            }
        }
    }
    Ok(found)
}

/// Sorted by name, links followed.
fn entries(directory: &Path) -> Result<Vec<(String, PathBuf, Kind)>, MappingError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MappingError::Read { path, source }
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let path = entry.path();
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| MappingError::Name(path.clone()))?;
        let link = entry.file_type().map_err(failed(&path))?.is_symlink();
        let kind = match fs::metadata(&path).map_err(failed(&path))? {
            data if data.is_file() => Kind::File { size: data.len() },
            data if data.is_dir() => Kind::Directory { link },
            _ => Kind::Other,
        };
        all.push((name, path, kind));
    }
    all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    Ok(all)
}

/// `target/aarch64-apple-darwin/release/bundle` says for what was built when nothing else does.
fn triple(directory: &Path) -> String {
    let full = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let above = full
        .parent()
        .and_then(Path::parent)
        .and_then(Path::file_name);
    let name = above.map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| name.matches('-').count() >= 2)
        .unwrap_or_default()
}
