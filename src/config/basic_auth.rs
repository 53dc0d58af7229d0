//! `basic_auth = { … }` of a route: who may come in, with which password.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Whoever comes needs a name and a password (RFC 7617); others get 401. Sensible over TLS only: both go over the wire
/// as they are. Upstreams do not see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    /// What browsers show beside the question.
    pub realm: Realm,
    /// A file of `htpasswd -B`, instead of `users`: `name:hash` in each line. It is read at the start and by a reload. A
    /// relative name is looked up in systemd's credentials directory.
    #[schemars(example = "/etc/seance/htpasswd")]
    pub users_file: Option<PathBuf>,
    /// `anna = "$2b$12$…"`: names, and bcrypt hashes that `seance password-hash` prints.
    pub users: BTreeMap<UserName, PasswordHash>,
}

impl Default for BasicAuth {
    fn default() -> BasicAuth {
        BasicAuth {
            realm: Realm("seance".to_owned()),
            users_file: None,
            users: BTreeMap::new(),
        }
    }
}

/// Visible ASCII characters and spaces, without those that would end or escape a quoted string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Realm(#[schemars(with = "String")] String);

/// Up to 255 bytes; no `:`, which ends a name (RFC 7617 §2), and no control character.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(#[schemars(with = "String")] String);

/// A bcrypt hash. It prints as dots: short passwords can be guessed from theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct PasswordHash(#[schemars(with = "String")] Secret);

/// What begins every message about a hash, so that none of the others is shown with the line it is about.
pub const HASHES: &str = "`basic_auth.users`";
const COST: std::ops::RangeInclusive<u32> = 4..=16;
const NAME_MOST: usize = 255;
const REALM_MOST: usize = 100;

/// None of these repeats the value, which may be a password.
#[derive(Debug, thiserror::Error)]
pub enum BasicAuthError {
    #[error(
        "{HASHES} needs bcrypt hashes, `$2a$…`, `$2b$…` or `$2y$…`, and this is none: `seance password-hash` or \
         `htpasswd -B` make one"
    )]
    Hash,
    #[error(
        "{HASHES} has a hash of cost {0}; it has to be between {first} and {last}, since each step doubles the time \
         of a login",
        first = COST.start(), last = COST.end()
    )]
    Cost(u32),
    #[error("{HASHES}: a name has up to {NAME_MOST} bytes, no `:` and no control character")]
    Name,
    #[error(
        "`basic_auth.realm` has up to {REALM_MOST} visible ASCII characters and spaces, without `\"` and `\\`"
    )]
    Realm,
}

impl Realm {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Realm {
    type Error = BasicAuthError;

    fn try_from(text: String) -> Result<Realm, BasicAuthError> {
        let allowed = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
        if (1..=REALM_MOST).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Realm(text))
        } else {
            Err(BasicAuthError::Realm)
        }
    }
}

impl From<Realm> for String {
    fn from(realm: Realm) -> String {
        realm.0
    }
}

impl UserName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = BasicAuthError;

    fn try_from(text: String) -> Result<UserName, BasicAuthError> {
        let fits = (1..=NAME_MOST).contains(&text.len())
            && !text.chars().any(|c| c == ':' || c.is_control());
        if fits {
            Ok(UserName(text))
        } else {
            Err(BasicAuthError::Name)
        }
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> String {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = BasicAuthError;

    fn try_from(text: String) -> Result<PasswordHash, BasicAuthError> {
        let text = Secret::from(text);
        // `$2a$` is what Caddy makes; `$2x$` is a broken bcrypt, which is why the three others exist.
        let known = ["$2a$", "$2b$", "$2y$"];
        if !known.iter().any(|known| text.expose().starts_with(known)) {
            return Err(BasicAuthError::Hash);
        }
        let parts: bcrypt::HashParts = match text.expose().parse() {
            Ok(parts) => parts,
            // Says which part is wrong, in words that do not fit here.
            Err(_) => return Err(BasicAuthError::Hash),
        };
        if !COST.contains(&parts.get_cost()) {
            return Err(BasicAuthError::Cost(parts.get_cost()));
        }
        Ok(PasswordHash(text))
    }
}

impl PasswordHash {
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The time that a comparison takes doubles with each step.
    pub fn cost(&self) -> u32 {
        // The two digits behind `$2b$`: checked when it was read.
        let digits = self.expose().get(4..6);
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT_AND_SUM: &str = "L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u";

    #[test]
    fn only_bcrypt_hashes_of_a_bearable_cost_are_taken() {
        for kind in ["$2a$", "$2b$", "$2y$"] {
            let hash = PasswordHash::try_from(format!("{kind}12${SALT_AND_SUM}"));
            assert_eq!(hash.expect("a hash").cost(), 12, "{kind}");
        }
        for wrong in [
            String::new(),
            "hunter2".to_owned(),
            format!("$2x$12${SALT_AND_SUM}"),
            format!("$2b$12${SALT_AND_SUM}u"),
            format!("$2b$12${}", &SALT_AND_SUM[1..]),
            format!("$2b$17${SALT_AND_SUM}"),
            format!("$2b$03${SALT_AND_SUM}"),
            "$apr1$mEV.MVyL$nnkLHqn.SLK2cSnDYMtzJ1".to_owned(),
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(),
        ] {
            let error = PasswordHash::try_from(wrong.clone()).expect_err("a refusal");
            let told = error.to_string();
            assert!(wrong.is_empty() || !told.contains(&wrong), "{told}");
            assert!(told.starts_with(HASHES), "{told}");
        }
        let hash = PasswordHash::try_from(format!("$2b$12${SALT_AND_SUM}")).expect("a hash");
        assert!(!format!("{hash:?}").contains("2b"));
    }
}
