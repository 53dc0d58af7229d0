//! What may speak against publishing a draft, beside what is wrong with its manifests themselves.

use jiff::Timestamp;
use semver::Version;

use crate::release::lint::Lintable;
use crate::release::publish::PublishError;
use crate::release::record::Warning;
use crate::release::state::Tree;

/// What a draft brings to its publication beside its files.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Until when it may be published.
    pub expires: Timestamp,
    /// Manifests that could not be made. Without them there is nothing to publish, whoever insists.
    pub faults: Vec<Warning>,
    /// What is wrong with its signatures.
    pub doubts: Vec<Warning>,
}

impl Terms {
    /// All that speaks against it where `tree` is published; `changed` is what became of the check of published bytes.
    pub fn judge(
        &self,
        tree: &Tree,
        manifests: &[Lintable],
        changed: Result<(), PublishError>,
    ) -> Result<Vec<Warning>, PublishError> {
        let mut found: Vec<Warning> = [&self.faults[..], &self.doubts[..]].concat();
        match changed {
            Ok(()) => {}
            Err(PublishError::Changed(paths)) => found.extend(paths.into_iter().map(|path| {
                Warning {
                    path,
                    message: "would change published bytes under a name that carries a version"
                        .to_owned(),
                }
            })),
            Err(error) => return Err(error),
        }
        found.extend(
            manifests
                .iter()
                .filter_map(|manifest| lower(tree, manifest)),
        );
        Ok(found)
    }
}

/// Updaters ignore a version that is lower than the installed one (semver.org §11), so nobody would get it.
fn lower(tree: &Tree, manifest: &Lintable) -> Option<Warning> {
    let newest = |versions: &[String]| {
        let versions = versions.iter();
        versions
            .filter_map(|version| Version::parse(version).ok())
            .max() // what is none has a finding of its own
    };
    let published = tree.file(manifest.path().as_str())?;
    let (new, old) = (newest(manifest.versions())?, newest(&published.versions())?);
    // Build metadata has no precedence.
    (new.cmp_precedence(&old).is_lt()).then(|| Warning {
        path: manifest.path().clone(),
        message: format!("has version {new}, lower than the published {old}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePrefix;
    use crate::release::path::ReleasePath;
    use crate::release::record::tests::{file, record};
    use crate::release::state::State;

    fn judged(published: &str, new: &str) -> Vec<String> {
        let path = "releases/win/latest.yml";
        let text = |version: &str| format!("version: {version}\npath: a.exe\n").into_bytes();
        let mut state = State::default();
        let files = vec![file(path, &text(published))];
        state.apply(&record(1, "prod", files, &[])).unwrap();
        let tree = state.tree(&StorePrefix::try_from("prod".to_owned()).unwrap());
        let path = ReleasePath::parse(path).unwrap();
        let new = text(new);
        let manifest = Lintable::new(&path, Some(&new), new.len() as u64).unwrap();
        let terms = Terms {
            expires: Timestamp::MAX,
            faults: Vec::new(),
            doubts: Vec::new(),
        };
        let found = terms.judge(&tree, &[manifest], Ok(())).unwrap();
        found.into_iter().map(|warning| warning.message).collect()
    }

    #[test]
    fn a_version_is_lower_by_the_precedence_of_semver() {
        for (published, new) in [
            ("1.2.0", "1.1.9"),
            ("1.10.0", "1.9.0"),
            ("2.0.0", "2.0.0-beta.1"),
        ] {
            let message = format!("has version {new}, lower than the published {published}");
            assert_eq!(judged(published, new), [message]);
        }
        for (published, new) in [
            ("1.2.0", "1.2.0"),
            ("1.2.0+b", "1.2.0+a"),
            ("2.0.0-beta.2", "2.0.0-beta.11"),
            ("x", "1.0.0"),
        ] {
            assert_eq!(
                judged(published, new),
                Vec::<String>::new(),
                "{published} {new}"
            );
        }
    }
}
