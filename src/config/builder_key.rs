//! Builder keys: what each may be used for, where, and until when.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{BuilderKeyHash, ValueError};

/// Longest name of a key, bytes; longest path of one too.
const TEXT_MOST: usize = 255;
/// Paths of one key.
const PATHS_MOST: usize = 100;

/// A kind of act on a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Deploys, drafts and uploads.
    Publish,
    /// The history and the list of keys.
    Read,
    /// Rollback, rollout, halt, pin.
    Control,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Publish => "publish",
            Scope::Read => "read",
            Scope::Control => "control",
        }
    }
}

/// A key that may do something to one product. Without scopes, paths and end it may do everything, the keys included.
//
// An unknown field is refused in records too: who ignored a restriction would grant what nobody gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuilderKey {
    /// SHA-256 of the key; `seance key new` prints both.
    #[schemars(example = "7e25f52b00e4e3cc74958b67a4685c37791d4fe49526548361294707366984ab")]
    pub hash: BuilderKeyHash,
    /// What `seance key list` calls it, up to 255 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(example = "Windows builds")]
    pub name: String,
    /// What it is for: `publish`, `read` (the history), `control` (rollback, rollout, halt, pin); all, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["publish"])]
    pub scopes: Vec<Scope>,
    /// Where it may publish: files, and directories with a `/` at the end (`releases/win32-x64/`); up to 100;
    /// everywhere, when empty. A key with paths cannot control.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["releases/win32-x64/"])]
    pub paths: Vec<String>,
    /// When it ends, RFC 3339: `2027-01-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = "2027-01-01T00:00:00Z")]
    pub expires: Option<Timestamp>,
}

impl BuilderKey {
    /// A key that may do everything.
    pub fn unrestricted(hash: BuilderKeyHash) -> BuilderKey {
        BuilderKey {
            hash,
            name: String::new(),
            scopes: Vec::new(),
            paths: Vec::new(),
            expires: None,
        }
    }

    /// Whether it may change the keys: one that ends could make itself one that does not.
    pub fn is_unrestricted(&self) -> bool {
        self.scopes.is_empty() && self.paths.is_empty() && self.expires.is_none()
    }

    pub fn may(&self, scope: Scope) -> bool {
        let narrowed = scope == Scope::Control && !self.paths.is_empty();
        !narrowed && (self.scopes.is_empty() || self.scopes.contains(&scope))
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub fn check(&self) -> Result<(), ValueError> {
        let long = |text: &String| text.is_empty() || text.len() > TEXT_MOST;
        if self.name.len() > TEXT_MOST || self.name.chars().any(char::is_control) {
            return Err(ValueError::KeyName);
        }
        if self.paths.len() > PATHS_MOST || self.paths.iter().any(long) {
            return Err(ValueError::KeyPaths);
        }
        Ok(())
    }
}

/// Whether `path` is one of `places`, or below one of them; no places stand for all.
pub fn is_within(places: &[String], path: &str) -> bool {
    let holds = |place: &String| match place.strip_suffix('/') {
        Some(_) => path.starts_with(place),
        None => path == place,
    };
    places.is_empty() || places.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_a_directory() {
        let places = [
            "releases/win/".to_owned(),
            "releases/version.json".to_owned(),
        ];
        for path in ["releases/win/latest.yml", "releases/version.json"] {
            assert!(is_within(&places, path), "{path}");
        }
        for path in [
            "releases/win",
            "releases/winter/x",
            "releases/version.json.x",
            "web/x",
        ] {
            assert!(!is_within(&places, path), "{path}");
        }
        assert!(is_within(&[], "web/x"));
    }

    #[test]
    fn a_key_with_paths_cannot_control() {
        let mut key = BuilderKey::unrestricted(BuilderKeyHash::of("x"));
        assert!(key.may(Scope::Control) && key.is_unrestricted());
        key.paths.push("releases/".to_owned());
        assert!(!key.may(Scope::Control) && key.may(Scope::Publish));
        key.scopes.push(Scope::Read);
        assert!(!key.may(Scope::Publish) && !key.is_unrestricted());
    }
}
