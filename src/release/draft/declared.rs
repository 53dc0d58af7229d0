//! What jobs said that a draft is to hold: a log of its own, of which this is the fold.
//!
//! Pure. Each entry is one object, created only if its number is free, so that several nodes agree on all of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::upload::Upload;
use crate::release::path::ReleasePath;

/// Entries of one draft. Jobs send theirs whole, or in a few pieces.
pub const BATCHES_MOST: u32 = 1000;

/// Parts of all files of one draft: an answer may list them all, those of a content as often as it is declared.
const PARTS_MOST: u64 = 100_000;

/// Jobs that declare one path: publishing may hold what all of them say, 1 MiB each.
const JOBS_MOST: usize = 64;

/// What one job declared with one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub job: String,
    pub files: Vec<Declaration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    pub path: ReleasePath,
    #[serde(flatten)]
    pub content: Upload,
}

/// All declarations of a draft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    batches: u32,
    /// Numbers in the order of first appearance: they never change, so they name the content in the store.
    uploads: HashMap<Upload, u32>,
    files: BTreeMap<ReleasePath, BTreeMap<String, Upload>>,
}

/// Why a declaration cannot stand beside the others.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("`{path}` is declared by the jobs `{first}` and `{second}` with different contents")]
    Differs {
        path: ReleasePath,
        first: String,
        second: String,
    },
    #[error("`{path}` is declared twice in one request")]
    Twice { path: ReleasePath },
    #[error("`{file}` is declared as a file, so `{path}` cannot lie below it")]
    BelowFile {
        path: ReleasePath,
        file: ReleasePath,
    },
    #[error("the draft would have more than {limit} files")]
    Files { limit: usize },
    #[error("the draft would have more than {PARTS_MOST} parts of {part_bytes} bytes")]
    Parts { part_bytes: u64 },
    #[error("the draft has {BATCHES_MOST} declarations; declare more files in each")]
    Batches,
    #[error("`{path}` is declared by more than {JOBS_MOST} jobs")]
    Jobs { path: ReleasePath },
}

impl Declared {
    pub fn batches(&self) -> u32 {
        self.batches
    }

    /// The number of an upload in the draft.
    pub fn number(&self, upload: &Upload) -> Option<u32> {
        self.uploads.get(upload).copied()
    }

    /// The first path that has this content.
    pub fn path_of(&self, upload: &Upload) -> Option<&ReleasePath> {
        let mut files = self.files.iter();
        let (path, _) = files.find(|(_, jobs)| jobs.values().any(|content| content == upload))?;
        Some(path)
    }

    /// Paths with what each job declared for them, in the order of paths and jobs.
    pub fn files(&self) -> impl Iterator<Item = (&ReleasePath, &BTreeMap<String, Upload>)> {
        self.files.iter()
    }

    /// The fold with the next entry; what a job declared for a path before is replaced.
    pub fn apply(&mut self, batch: &Batch) {
        self.batches += 1;
        for file in &batch.files {
            let next = u32::try_from(self.uploads.len()).unwrap_or(u32::MAX);
            self.uploads.entry(file.content).or_insert(next);
            let jobs = self.files.entry(file.path.clone()).or_default();
            jobs.insert(batch.job.clone(), file.content);
        }
    }

    /// The fold with `batch`, if that may be; `None` when it says nothing new. `limit` holds for files, counted for
    /// each job that declares them, and for the contents that were ever declared: a record and an answer list the former,
    /// memory keeps both.
    pub fn with(
        &self,
        batch: &Batch,
        limit: usize,
        part_bytes: u64,
    ) -> Result<Option<Declared>, Refusal> {
        if batch.files.len() > limit {
            return Err(Refusal::Files { limit });
        }
        let mut seen = HashSet::new();
        for file in &batch.files {
            if !seen.insert(&file.path) {
                let path = file.path.clone();
                return Err(Refusal::Twice { path });
            }
        }
        let mut next = self.clone();
        next.apply(batch);
        if next.files == self.files {
            return Ok(None);
        }
        if next.batches > BATCHES_MOST {
            return Err(Refusal::Batches);
        }
        let files: usize = next.files.values().map(BTreeMap::len).sum();
        if files.max(next.uploads.len()) > limit {
            return Err(Refusal::Files { limit });
        }
        let contents = next.files.values().flat_map(BTreeMap::values);
        let parts = contents.map(|upload| upload.parts(part_bytes));
        if parts.fold(0, u64::saturating_add) > PARTS_MOST {
            return Err(Refusal::Parts { part_bytes });
        }
        for file in &batch.files {
            next.check(&file.path)?;
        }
        Ok(Some(next))
    }

    fn check(&self, path: &ReleasePath) -> Result<(), Refusal> {
        let jobs = self.files.get(path);
        if jobs.is_some_and(|jobs| jobs.len() > JOBS_MOST) {
            return Err(Refusal::Jobs { path: path.clone() });
        }
        let mut jobs = jobs.into_iter().flatten();
        if let Some((first, content)) = jobs.next()
            && let Some((second, _)) = jobs.find(|(_, other)| *other != content)
            && !is_merged(path)
        {
            return Err(Refusal::Differs {
                path: path.clone(),
                first: first.clone(),
                second: second.clone(),
            });
        }
        let above = path
            .parents()
            .find_map(|parent| self.files.get_key_value(parent));
        if let Some((file, _)) = above {
            return Err(Refusal::BelowFile {
                path: path.clone(),
                file: file.clone(),
            });
        }
        let below = format!("{path}/");
        let from = (Bound::Included(below.as_str()), Bound::Unbounded);
        match self.files.range::<str, _>(from).next() {
            Some((inner, _)) if inner.as_str().starts_with(&below) => Err(Refusal::BelowFile {
                path: inner.clone(),
                file: path.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether a file that jobs declare differently may be one that can be merged, as its name tells.
pub fn is_merged(path: &ReleasePath) -> bool {
    path.is_electron_channel() || path.file_name().ends_with(".json")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(job: &str, files: &[(&str, u8)]) -> Batch {
        let declaration = |(path, byte): &(&str, u8)| Declaration {
            path: ReleasePath::parse(path).unwrap(),
            content: Upload {
                sha256: [*byte; 32],
                size: 1,
            },
        };
        Batch {
            job: job.to_owned(),
            files: files.iter().map(declaration).collect(),
        }
    }

    fn with(
        declared: &Declared,
        job: &str,
        files: &[(&str, u8)],
    ) -> Result<Option<Declared>, Refusal> {
        declared.with(&batch(job, files), 5, 1)
    }

    #[test]
    fn a_job_replaces_what_it_said_and_nobody_elses() {
        let first = with(&Declared::default(), "mac", &[("a.zip", 1)])
            .unwrap()
            .unwrap();
        assert_eq!(with(&first, "mac", &[("a.zip", 1)]), Ok(None));
        let again = with(&first, "mac", &[("a.zip", 2)]).unwrap().unwrap();
        assert_eq!(again.files().next().unwrap().1["mac"].sha256, [2; 32]);
        let same = with(&again, "win", &[("a.zip", 2)]).unwrap().unwrap();
        let error = with(&same, "win", &[("a.zip", 3)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.zip` is declared by the jobs `mac` and `win` with different contents"
        );
    }

    #[test]
    fn manifests_may_differ_between_jobs() {
        for path in [
            "releases/mac/latest-mac.yml",
            "releases/version.json",
            "releases/latest.json",
        ] {
            let first = with(&Declared::default(), "mac", &[(path, 1)])
                .unwrap()
                .unwrap();
            assert!(
                with(&first, "win", &[(path, 2)]).unwrap().is_some(),
                "{path}"
            );
        }
    }

    #[test]
    fn no_name_is_a_file_and_a_directory() {
        let first = with(&Declared::default(), "mac", &[("a/b", 1)])
            .unwrap()
            .unwrap();
        for paths in [&[("a", 1)][..], &[("a/b/c", 1)], &[("x/y", 1), ("x", 1)]] {
            assert!(
                matches!(with(&first, "win", paths), Err(Refusal::BelowFile { .. })),
                "{paths:?}"
            );
        }
        assert!(with(&first, "win", &[("a/b-c", 1), ("a/c", 1), ("a.b", 1)]).is_ok());
    }

    #[test]
    fn a_request_says_one_thing_of_a_path() {
        let error = with(&Declared::default(), "", &[("a", 1), ("a", 2)]).unwrap_err();
        assert!(matches!(error, Refusal::Twice { .. }));
        let error = with(&Declared::default(), "", &[("a", 1), ("a", 1)]).unwrap_err();
        assert!(matches!(error, Refusal::Twice { .. }));
        let many: Vec<(String, u8)> = (0..6).map(|n| (format!("f{n}"), n)).collect();
        let many: Vec<(&str, u8)> = many.iter().map(|(path, n)| (path.as_str(), *n)).collect();
        assert_eq!(
            with(&Declared::default(), "", &many),
            Err(Refusal::Files { limit: 5 })
        );
    }

    #[test]
    fn files_count_for_every_job_whatever_their_content() {
        let three = [("a", 1), ("b", 1), ("c", 1)];
        let first = with(&Declared::default(), "mac", &three).unwrap().unwrap();
        assert_eq!(with(&first, "mac", &three), Ok(None));
        assert_eq!(
            with(&first, "win", &three),
            Err(Refusal::Files { limit: 5 })
        );
        assert!(with(&first, "win", &[("a", 1), ("d", 1)]).is_ok());
    }

    #[test]
    fn the_jobs_of_a_path_are_bounded() {
        let mut declared = Declared::default();
        for job in 0..JOBS_MOST {
            let one = batch(&job.to_string(), &[("releases/latest.json", 1)]);
            declared = declared.with(&one, 100, 1).unwrap().unwrap();
        }
        let more = batch("one more", &[("releases/latest.json", 1)]);
        let refused = declared.with(&more, 100, 1);
        assert!(matches!(refused, Err(Refusal::Jobs { .. })), "{refused:?}");
    }

    #[test]
    fn parts_count_as_often_as_an_answer_lists_them() {
        let mut files = batch("", &[("a", 1), ("b", 1)]);
        for file in &mut files.files {
            file.content.size = PARTS_MOST;
        }
        let refused = Declared::default().with(&files, 5, 1);
        assert_eq!(refused, Err(Refusal::Parts { part_bytes: 1 }));
        files.files.pop();
        assert!(Declared::default().with(&files, 5, 1).is_ok());
    }

    #[test]
    fn the_parts_of_a_draft_are_bounded() {
        let mut huge = batch("", &[("a", 1), ("b", 2)]);
        for file in &mut huge.files {
            file.content.size = u64::MAX;
        }
        let refused = Declared::default().with(&huge, 5, 1 << 20);
        assert_eq!(
            refused,
            Err(Refusal::Parts {
                part_bytes: 1 << 20
            })
        );
    }

    proptest! {
        #[test]
        fn an_upload_keeps_its_number(batches in proptest::collection::vec((0u8..3, 0u8..6, 0u8..9), 1..20)) {
            let mut declared = Declared::default();
            let mut numbers = HashMap::new();
            for (job, path, byte) in batches {
                declared.apply(&batch(&job.to_string(), &[(&format!("p{path}"), byte)]));
                for (upload, number) in &declared.uploads {
                    prop_assert_eq!(numbers.entry(*upload).or_insert(*number), number);
                }
            }
            let mut all: Vec<u32> = numbers.into_values().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..u32::try_from(declared.uploads.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
