//! Files that are asked for, kept in memory up to a budget; those that were not asked for longest go first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::Entry;

/// Paths of requests that are remembered. One file can be asked for under several.
const PATHS_MOST: usize = 16 * 1024;

pub struct Memory {
    /// Bytes.
    budget: usize,
    /// Counts what was added: the time by which use is judged.
    clock: AtomicU64,
    shelves: RwLock<Shelves>,
}

#[derive(Default)]
struct Shelves {
    /// By the request's path as it was sent, which saves taking it apart.
    paths: HashMap<Box<str>, Known>,
    /// By the file's name.
    entries: HashMap<Box<str>, Kept>,
    bytes: usize,
}

struct Kept {
    entry: Arc<Entry>,
    bytes: usize,
}

struct Known {
    entry: Arc<Entry>,
    /// What the source stood at when the path was last found to mean this file.
    stamp: AtomicU64,
}

impl Memory {
    pub fn new(budget: usize) -> Memory {
        Memory {
            budget,
            clock: AtomicU64::new(0),
            shelves: RwLock::default(),
        }
    }

    /// A larger file is not worth keeping: it would push out many.
    pub fn largest(&self) -> u64 {
        self.budget as u64 / 16
    }

    /// The file that answers this path, if that was found out at the same stamp.
    pub fn at(&self, path: &str, stamp: u64) -> Option<Arc<Entry>> {
        let shelves = self.read();
        let known = shelves.paths.get(path)?;
        if known.stamp.load(Ordering::Relaxed) != stamp {
            return None;
        }
        known.entry.touch(self.clock.load(Ordering::Relaxed));
        Some(known.entry.clone())
    }

    /// The file of this name, as it was last read.
    pub fn named(&self, name: &str) -> Option<Arc<Entry>> {
        self.read().entries.get(name).map(|kept| kept.entry.clone())
    }

    /// Remembers that the path means this file at this stamp.
    pub fn know(&self, path: &str, stamp: u64, entry: &Arc<Entry>) {
        {
            let shelves = self.read();
            if let Some(known) = shelves.paths.get(path)
                && Arc::ptr_eq(&known.entry, entry)
            {
                known.stamp.store(stamp, Ordering::Relaxed);
                return;
            }
        }
        let mut shelves = self.write();
        // Only what is counted may be held on to.
        let kept = shelves.entries.get(entry.name());
        if !kept.is_some_and(|kept| Arc::ptr_eq(&kept.entry, entry)) {
            return;
        }
        if shelves.paths.len() >= PATHS_MOST {
            shelves.paths.clear();
        }
        let known = Known {
            entry: entry.clone(),
            stamp: AtomicU64::new(stamp),
        };
        shelves.paths.insert(path.into(), known);
    }

    /// Keeps a file in place of another version of it.
    pub fn keep(&self, entry: &Arc<Entry>) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        entry.touch(now + 1);
        let bytes = entry.bytes();
        let mut shelves = self.write();
        let kept = Kept {
            entry: entry.clone(),
            bytes,
        };
        if let Some(old) = shelves.entries.insert(entry.name().into(), kept) {
            shelves.drop_paths_of(|entry| Arc::ptr_eq(entry, &old.entry));
            shelves.bytes -= old.bytes;
        }
        shelves.bytes += bytes;
        self.make_room(&mut shelves);
    }

    /// Counts what was added to a file since it is kept.
    pub fn weigh(&self, entry: &Arc<Entry>) {
        let mut shelves = self.write();
        let Some(kept) = shelves.entries.get_mut(entry.name()) else {
            return;
        };
        if !Arc::ptr_eq(&kept.entry, entry) {
            return;
        }
        let before = std::mem::replace(&mut kept.bytes, entry.bytes());
        let after = kept.bytes;
        shelves.bytes = shelves.bytes - before + after;
        self.make_room(&mut shelves);
    }

    /// Goes an eighth below the budget, so that not every file that comes has to look at all that are there.
    fn make_room(&self, shelves: &mut Shelves) {
        if shelves.bytes <= self.budget {
            return;
        }
        let mut by_use: Vec<(u64, Box<str>)> = shelves
            .entries
            .iter()
            .map(|(name, kept)| (kept.entry.used(), name.clone()))
            .collect();
        by_use.sort_unstable();
        for (_, name) in by_use {
            if shelves.bytes <= self.budget - self.budget / 8 {
                break;
            }
            if let Some(kept) = shelves.entries.remove(&name) {
                shelves.bytes -= kept.bytes;
            }
        }
        let Shelves { paths, entries, .. } = shelves;
        paths.retain(|_, known| entries.contains_key(known.entry.name()));
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn drop_paths_of(&mut self, gone: impl Fn(&Arc<Entry>) -> bool) {
        self.paths.retain(|_, known| !gone(&known.entry));
    }
}
