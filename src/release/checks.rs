//! What a deploy would do to what is published, and whether it may.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;

use super::path::ReleasePath;
use super::publish::PublishError;
use super::record::{ContentKey, File};
use super::staging::StagedFile;
use super::state::{State, Tree};
use crate::config::is_within;

/// Most conflicts that an answer lists.
const LISTED: usize = 100;

/// SHA-256 over the files sorted by path, and over what else was asked for: the same for the same deploy, however its
/// body was written. The share of clients is in percent.
pub fn fingerprint(files: &[StagedFile], force: bool, share: Option<u8>) -> [u8; 32] {
    let sorted: BTreeMap<&str, &[u8; 32]> = files
        .iter()
        .map(|file| (file.path.as_str(), &file.sha256))
        .collect();
    let mut context = Context::new(&SHA256);
    for (path, sha256) in sorted {
        context.update(&(path.len() as u64).to_be_bytes());
        context.update(path.as_bytes());
        context.update(sha256);
    }
    // A plain deploy has the fingerprint that versions knew which left this out, so that theirs are recognised.
    if force || share.is_some() {
        context.update(&u64::MAX.to_be_bytes()); // no path is as long
        context.update(&[u8::from(force), share.unwrap_or(u8::MAX)]);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// A deploy with the page of the web app replaces the whole app: what it does not bring is gone.
pub fn removed<'a>(tree: &'a Tree, files: &[StagedFile]) -> HashSet<&'a ReleasePath> {
    let new: HashSet<&ReleasePath> = files.iter().map(|file| &file.path).collect();
    if !new.iter().any(|path| path.as_str() == "web/index.html") {
        return HashSet::new();
    }
    tree.below("web")
        .map(|file| &file.path)
        .filter(|path| !new.contains(path))
        .collect()
}

/// A key with paths neither brings nor takes away what lies elsewhere.
pub fn check_places<'a>(
    within: &[String],
    mut paths: impl Iterator<Item = &'a ReleasePath>,
) -> Result<(), PublishError> {
    match paths.find(|path| !is_within(within, path.as_str())) {
        None => Ok(()),
        Some(path) => Err(PublishError::Outside {
            path: path.clone(),
            within: within.to_vec(),
        }),
    }
}

/// No name may be a file and a directory: a file system could not hold the public copies.
pub fn check_layout(
    tree: &Tree,
    removed: &HashSet<&ReleasePath>,
    files: &[StagedFile],
) -> Result<(), PublishError> {
    for StagedFile { path, .. } in files {
        let stays = |file: &&Arc<File>| !removed.contains(&file.path);
        if let Some(file) = path
            .parents()
            .find_map(|parent| tree.file(parent).filter(stays))
        {
            return Err(PublishError::BelowFile {
                path: path.clone(),
                file: file.path.clone(),
            });
        }
        if let Some(file) = tree.below(path.as_str()).find(stays) {
            return Err(PublishError::IsDirectory {
                path: path.clone(),
                file: file.path.clone(),
            });
        }
    }
    Ok(())
}

/// Bytes under a name with a version are cached for ever by clients and CDNs, and signed for in manifests.
pub fn check_changes(tree: &Tree, files: &[StagedFile]) -> Result<(), PublishError> {
    let changes = |file: &&StagedFile| {
        file.path.is_versioned()
            && tree
                .file(file.path.as_str())
                .is_some_and(|old| old.sha256 != file.sha256)
    };
    let changed: Vec<ReleasePath> = files
        .iter()
        .filter(changes)
        .take(LISTED)
        .map(|file| file.path.clone())
        .collect();
    if changed.is_empty() {
        Ok(())
    } else {
        Err(PublishError::Changed(changed))
    }
}

/// The files as the record tells them: known content is named where it already is. With `force` what was sent takes its
/// place, and the public copies are made again: that mends a store which has lost content.
pub fn files(
    state: &State,
    tree: &Tree,
    staged: &[StagedFile],
    now: Timestamp,
    force: bool,
) -> Vec<Arc<File>> {
    let known = known_content(state, staged, force);
    let file = |staged: &StagedFile| {
        let content = known
            .get(&(staged.sha256, staged.size))
            .copied()
            .unwrap_or(staged.content);
        let new = File {
            path: staged.path.clone(),
            content,
            size: staged.size,
            sha256: staged.sha256,
            sha512: staged.sha512,
            content_type: staged.path.content_type().to_owned(),
            cache_control: staged.path.cache_control().to_owned(),
            modified: now,
            inline: staged.inline.clone(),
            unchanged: false,
        };
        match tree.file(staged.path.as_str()) {
            Some(old) if old.same_object(&new) => File {
                content: if force { new.content } else { old.content },
                modified: old.modified,
                unchanged: !force,
                ..new
            },
            _ => new,
        }
    };
    staged.iter().map(|staged| Arc::new(file(staged))).collect()
}

/// What of the tree changed files and removed paths take the place of.
pub fn replaced(
    tree: &Tree,
    files: &[Arc<File>],
    removed: &HashSet<&ReleasePath>,
) -> Vec<Arc<File>> {
    let changed = files.iter().filter(|file| !file.unchanged);
    let paths = changed
        .map(|file| &file.path)
        .chain(removed.iter().copied());
    paths
        .filter_map(|path| tree.file(path.as_str()).cloned())
        .collect()
}

/// Where content of this deploy is earlier in it, or else, unless the store is not to be trusted, in the store already.
fn known_content(
    state: &State,
    staged: &[StagedFile],
    force: bool,
) -> HashMap<([u8; 32], u64), ContentKey> {
    let mut known: HashMap<([u8; 32], u64), ContentKey> = HashMap::with_capacity(staged.len());
    for file in staged {
        known
            .entry((file.sha256, file.size))
            .or_insert(file.content);
    }
    if force {
        return known;
    }
    let mut stored: HashMap<_, ContentKey> = HashMap::new();
    for file in state.files() {
        let same = (file.sha256, file.size);
        if known.contains_key(&same) {
            // The newest: with `force` one is stored because an earlier one is lost.
            let newest = stored.entry(same).or_insert(file.content);
            *newest = file.content.max(*newest);
        }
    }
    known.extend(stored);
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePrefix;
    use crate::release::record::ReleaseId;
    use crate::release::record::tests::{file, record};

    fn staged(files: &[(&str, &[u8])]) -> Vec<StagedFile> {
        let id = ReleaseId::generate();
        let one = |(index, (path, content)): (usize, &(&str, &[u8]))| {
            let file = file(path, content);
            let content = ContentKey {
                id,
                index: u32::try_from(index).unwrap(),
            };
            StagedFile {
                path: file.path,
                content,
                size: file.size,
                sha256: file.sha256,
                sha512: file.sha512,
                inline: file.inline,
            }
        };
        files.iter().enumerate().map(one).collect()
    }

    fn state(files: &[(&str, &[u8])]) -> (State, Arc<Tree>) {
        let files = files
            .iter()
            .map(|(path, content)| file(path, content))
            .collect();
        let mut state = State::default();
        state.apply(&record(1, "prod", files, &[])).unwrap();
        let tree = state.tree(&StorePrefix::try_from("prod".to_owned()).unwrap());
        (state, tree)
    }

    fn layout(tree: &Tree, files: &[(&str, &[u8])]) -> Result<(), PublishError> {
        let staged = staged(files);
        let removed = removed(tree, &staged);
        check_layout(tree, &removed, &staged)
    }

    #[test]
    fn a_new_index_page_replaces_the_web_tree_and_nothing_else() {
        let (_, tree) = state(&[
            ("web/index.html", b"1"),
            ("web/old.js", b"1"),
            ("web/kept.js", b"1"),
            ("webx/y", b"1"),
            ("releases/a", b"1"),
        ]);
        let staged_web = staged(&[("web/index.html", b"2"), ("web/kept.js", b"1")]);
        let gone: Vec<_> = removed(&tree, &staged_web)
            .into_iter()
            .map(ReleasePath::as_str)
            .collect();
        assert_eq!(gone, ["web/old.js"]);
        assert!(removed(&tree, &staged(&[("web/new.js", b"2")])).is_empty());
    }

    #[test]
    fn a_path_cannot_be_file_and_directory_unless_the_old_one_goes() {
        let (_, tree) = state(&[("a/b", b"1"), ("web/x", b"1")]);
        assert!(matches!(
            layout(&tree, &[("a/b/c", b"")]),
            Err(PublishError::BelowFile { .. })
        ));
        assert!(matches!(
            layout(&tree, &[("a", b"")]),
            Err(PublishError::IsDirectory { .. })
        ));
        assert!(layout(&tree, &[("a-b", b""), ("a/c", b"")]).is_ok());
        assert!(layout(&tree, &[("web/x/y", b""), ("web/index.html", b"")]).is_ok());
        assert!(matches!(
            layout(&tree, &[("web/x/y", b"")]),
            Err(PublishError::BelowFile { .. })
        ));
    }

    #[test]
    fn only_changed_bytes_under_a_versioned_name_are_a_conflict() {
        let (_, tree) = state(&[
            ("releases/S-1.0.0.zip", b"1"),
            ("releases/latest.yml", b"1"),
            ("x.txt", b"1"),
        ]);
        let ok = [
            ("releases/S-1.0.0.zip", &b"1"[..]),
            ("releases/latest.yml", b"2"),
            ("x.txt", b"2"),
            ("releases/S-1.0.1.zip", b"3"),
        ];
        assert!(check_changes(&tree, &staged(&ok)).is_ok());
        match check_changes(&tree, &staged(&[("releases/S-1.0.0.zip", b"2")])) {
            Err(PublishError::Changed(paths)) => {
                assert_eq!(paths[0].as_str(), "releases/S-1.0.0.zip")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_two_places_of_known_content_the_newer_is_named() {
        let mut two = ["a", "z"].map(|path| file(path, b"same"));
        let [older, newer] = {
            let mut keys = [two[0].content, two[1].content];
            keys.sort();
            keys
        };
        (two[0].content, two[1].content) = (newer, older);
        let mut state = State::default();
        state.apply(&record(1, "prod", two.to_vec(), &[])).unwrap();
        let known = known_content(&state, &staged(&[("n", b"same")]), false);
        assert_eq!(known.into_values().collect::<Vec<_>>(), [newer]);
    }

    #[test]
    fn known_content_is_named_where_it_is() {
        let (state, tree) = state(&[("a", b"same"), ("b", b"other")]);
        let staged = staged(&[("a", b"same"), ("c", b"same"), ("d", b"new"), ("e", b"new")]);
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        let files = files(&state, &tree, &staged, now, false);
        let old = tree.file("a").unwrap();
        assert_eq!(
            (files[0].content, files[0].unchanged, files[0].modified),
            (old.content, true, old.modified)
        );
        assert_eq!(
            (files[1].content, files[1].unchanged, files[1].modified),
            (old.content, false, now)
        );
        assert_eq!(files[2].content, staged[2].content);
        assert_eq!(files[3].content, staged[2].content);
    }

    #[test]
    fn forced_content_takes_the_place_of_what_is_known() {
        let (state, tree) = state(&[("a", b"same")]);
        let staged = staged(&[("a", b"same"), ("c", b"same")]);
        let files = files(&state, &tree, &staged, Timestamp::UNIX_EPOCH, true);
        assert_eq!(files[0].content, staged[0].content);
        assert_eq!(files[1].content, staged[0].content);
        assert!(!files[0].unchanged);
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_the_order_of_files() {
        let plain = |files: &[(&str, &[u8])]| fingerprint(&staged(files), false, None);
        let one = plain(&[("a", b"1"), ("b", b"2")]);
        assert_eq!(one, plain(&[("b", b"2"), ("a", b"1")]));
        assert_ne!(one, plain(&[("a", b"2"), ("b", b"1")]));
        assert_ne!(one, plain(&[("a", b"1")]));
    }

    #[test]
    fn a_fingerprint_tells_deploys_apart_that_ask_for_different_things() {
        let asked = [
            (false, None),
            (true, None),
            (false, Some(0)),
            (false, Some(10)),
            (true, Some(10)),
        ];
        let files = staged(&[("a", b"1")]);
        let one = |&(force, share): &(bool, Option<u8>)| fingerprint(&files, force, share);
        let all: HashSet<[u8; 32]> = asked.iter().map(one).collect();
        assert_eq!(all.len(), asked.len());
        // What earlier versions recorded.
        let mut context = Context::new(&SHA256);
        context.update(&1u64.to_be_bytes());
        context.update(b"a");
        context.update(&files[0].sha256);
        assert_eq!(one(&asked[0]), context.finish().as_ref());
    }
}
