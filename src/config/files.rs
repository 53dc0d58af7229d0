//! `files = { … }` of a route: a static web app or site, from a directory or from an app's newest deploy.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::AppName;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// As long as the log remembers replaced assets, see `release::state`.
const REPLACED_DAYS_MOST: u64 = 90;

/// Files of a directory, or the `web/` tree of an app's newest deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// The directory. It may be a symbolic link that is switched while the daemon runs; links within it are followed, but
    /// not out of it.
    pub directory: Option<PathBuf>,
    /// The app whose `web/` files are served, instead of a directory. Each deploy with a `web/index.html` replaces them
    /// all at once.
    #[schemars(example = &"default")]
    pub app: Option<AppName>,
    /// Whether navigation to a path without a file is answered with the root's index file (a single-page app).
    pub spa: bool,
    /// Whether `/about` is answered with `about.html`.
    pub clean_urls: bool,
    /// The file that answers for the directory it lies in.
    pub index: String,
    /// The page for paths without a file, sent with 404 when there is one of this name.
    pub not_found: String,
    /// Memory for files that are asked for and their compressed forms, bytes. Files above a sixteenth of it are read from
    /// disk or store each time.
    pub memory_bytes: u64,
    /// Whether files in memory are also kept compressed (zstd, br, gzip), made once in the background. Files with `.zst`,
    /// `.br` and `.gz` behind their names are sent instead where they exist, with or without it.
    pub precompress: bool,
    /// How long assets that a newer deploy no longer has can still be fetched by pages that are open, days (with `app`).
    pub keep_replaced_days: u32,
    /// Ranges in one request.
    pub max_ranges: usize,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            directory: None,
            app: None,
            spa: false,
            clean_urls: true,
            index: "index.html".to_owned(),
            not_found: "404.html".to_owned(),
            memory_bytes: 32 * MIB,
            precompress: true,
            keep_replaced_days: 7,
            max_ranges: 1000,
        }
    }
}

/// What is wrong with the options of static files.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    #[error("`files` needs one of `directory` and `app`")]
    Source,
    #[error("`files.app` is `{0}`, which is no app of this configuration")]
    NoApp(AppName),
    #[error("`files.directory` is `{0}`; it has to begin with `/`")]
    Relative(PathBuf),
    #[error("`files.{key}` is `{name}`; it has to be a file name")]
    Name { key: &'static str, name: String },
    #[error("`files.{key}` is {value}; it has to be between {least} and {most}")]
    Range {
        key: &'static str,
        value: u64,
        least: u64,
        most: u64,
    },
}

impl Files {
    /// Checks the options against each other and against the apps of the configuration.
    pub fn check<'a>(&self, mut apps: impl Iterator<Item = &'a AppName>) -> Result<(), FilesError> {
        match (&self.directory, &self.app) {
            (Some(directory), None) if directory.is_absolute() => {}
            (Some(directory), None) => return Err(FilesError::Relative(directory.clone())),
            (None, Some(app)) if app.is_default() || apps.any(|known| known == app) => {}
            (None, Some(app)) => return Err(FilesError::NoApp(app.clone())),
            (None, None) | (Some(_), Some(_)) => return Err(FilesError::Source),
        }
        for (key, name) in [("index", &self.index), ("not_found", &self.not_found)] {
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
                let name = name.clone();
                return Err(FilesError::Name { key, name });
            }
        }
        let ranges = [
            ("memory_bytes", self.memory_bytes, 64 * KIB, 64 * GIB),
            (
                "keep_replaced_days",
                u64::from(self.keep_replaced_days),
                0,
                REPLACED_DAYS_MOST,
            ),
            ("max_ranges", self.max_ranges as u64, 1, 10_000),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(FilesError::Range {
                    key,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_work_are_refused() {
        let of_app = Files {
            app: Some(AppName::default_app()),
            ..Files::default()
        };
        let check = |files: &Files| files.check(std::iter::empty());
        assert_eq!(check(&of_app), Ok(()));
        assert_eq!(check(&Files::default()), Err(FilesError::Source));
        let directory = |path: &str| Files {
            directory: Some(path.into()),
            ..Files::default()
        };
        assert_eq!(check(&directory("/srv/site")), Ok(()));
        assert!(matches!(
            check(&directory("site")),
            Err(FilesError::Relative(_))
        ));
        let both = Files {
            app: of_app.app.clone(),
            ..directory("/srv/site")
        };
        assert_eq!(check(&both), Err(FilesError::Source));
        let other = AppName::try_from("other".to_owned()).unwrap();
        let of_other = Files {
            app: Some(other.clone()),
            ..Files::default()
        };
        assert!(matches!(check(&of_other), Err(FilesError::NoApp(_))));
        assert_eq!(of_other.check([other].iter()), Ok(()));
        for index in ["", "a/b", "..", ".hidden"] {
            let index = Files {
                index: index.to_owned(),
                ..of_app.clone()
            };
            assert!(matches!(
                check(&index),
                Err(FilesError::Name { key: "index", .. })
            ));
        }
        let days = |keep_replaced_days| {
            check(&Files {
                keep_replaced_days,
                ..of_app.clone()
            })
        };
        assert_eq!((days(0), days(90)), (Ok(()), Ok(())));
        assert!(matches!(days(91), Err(FilesError::Range { .. })));
    }
}
