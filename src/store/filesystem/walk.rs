//! Listings, in the order S3 gives them.

use std::{collections::BTreeSet, io, os::fd::OwnedFd};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::AtFlags,
    sys::stat::{FileStat, SFlag, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{
    meta,
    root::{Root, TEMPORARY},
};
use crate::store::{Key, Meta};

/// The first `limit` objects whose keys start with `prefix` and are greater
/// than `after`, by the bytes of their keys.
pub(super) fn list(root: &Root, prefix: &str, after: &str, limit: usize) -> io::Result<Vec<Meta>> {
    let mut found = Vec::new();
    // Names still to visit; one that ends in `/` is a directory. With that `/`
    // their order is the order of all keys below them.
    let mut pending = BTreeSet::new();
    let start = prefix
        .rsplit_once('/')
        .map_or("", |(directory, _)| directory);
    let wanted = |name: &str| wanted(name, prefix, after);
    expand(root, start, &wanted, &mut pending)?;
    while found.len() < limit {
        let Some(next) = pending.pop_first() else {
            break;
        };
        match next.strip_suffix('/') {
            Some(directory) => expand(root, directory, &wanted, &mut pending)?,
            None => found.extend(look_up(root, &next)?),
        }
    }
    Ok(found)
}

/// Whether `name` is, or as a directory may hold, a key that is asked for.
fn wanted(name: &str, prefix: &str, after: &str) -> bool {
    if name.ends_with('/') {
        (name.starts_with(prefix) || prefix.starts_with(name))
            && (name > after || after.starts_with(name))
    } else {
        name.starts_with(prefix) && name > after
    }
}

/// Adds what stands in a directory and is wanted; one that has vanished is empty.
fn expand(
    root: &Root,
    directory: &str,
    wanted: &impl Fn(&str) -> bool,
    pending: &mut BTreeSet<String>,
) -> io::Result<()> {
    let Some(opened) = open(root, directory)? else {
        return Ok(());
    };
    let mut entries = Dir::from_fd(opened.try_clone()?)?;
    for entry in entries.iter() {
        let entry = entry?;
        // Not UTF-8: nothing we wrote, and no key names it.
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(kind) => kind,
            None => match kind_of(&opened, name)? {
                Some(kind) => kind,
                None => continue,
            },
        };
        let separator = if directory.is_empty() { "" } else { "/" };
        let path = match kind {
            Type::File => format!("{directory}{separator}{name}"),
            Type::Directory => format!("{directory}{separator}{name}/"),
            _ => continue,
        };
        if path.strip_suffix('/') != Some(TEMPORARY) && wanted(&path) {
            pending.insert(path);
        }
    }
    Ok(())
}

/// Opens a directory, if it is there and is one.
fn open(root: &Root, directory: &str) -> io::Result<Option<OwnedFd>> {
    match root.open_directory(Some(directory).filter(|path| !path.is_empty())) {
        Ok(opened) => Ok(Some(opened)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn kind_of(directory: &OwnedFd, name: &str) -> io::Result<Option<Type>> {
    Ok(
        stat(directory, name)?.and_then(|stat| match file_type(&stat) {
            SFlag::S_IFREG => Some(Type::File),
            SFlag::S_IFDIR => Some(Type::Directory),
            _ => None,
        }),
    )
}

fn look_up(root: &Root, path: &str) -> io::Result<Option<Meta>> {
    let Ok(key) = Key::parse(path) else {
        return Ok(None);
    };
    let (parent, name) = key.split();
    let Some(directory) = open(root, parent.unwrap_or(""))? else {
        return Ok(None);
    };
    let stat = stat(&directory, name)?;
    Ok(stat
        .filter(|stat| file_type(stat) == SFlag::S_IFREG)
        .map(|stat| meta(key.clone(), &stat)))
}

fn stat(directory: &OwnedFd, name: &str) -> io::Result<Option<FileStat>> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Removes temporary files last written before `before`; returns how many.
pub(super) fn remove_stale(root: &Root, before: jiff::Timestamp) -> io::Result<usize> {
    let Some(directory) = open(root, TEMPORARY)? else {
        return Ok(0);
    };
    let mut removed = 0;
    for entry in Dir::from_fd(directory.try_clone()?)?.iter() {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let Some(stat) = stat(&directory, name)? else {
            continue;
        };
        if file_type(&stat) == SFlag::S_IFREG && stat.st_mtime < before.as_second() {
            unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir)?;
            removed += 1;
        }
    }
    Ok(removed)
}
