//! The files that routes have their users from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::basic_auth::{BasicAuthError, PasswordHash, UserName};
use super::secret::{SecretError, SecretSource};
use super::table::Table;

pub type Users = BTreeMap<UserName, PasswordHash>;

/// By the name that the configuration has for each file.
#[derive(Debug, Default)]
pub struct UserFiles(BTreeMap<PathBuf, Users>);

#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
    #[error("cannot read a `basic_auth.users_file`")]
    Read(#[source] SecretError),
    #[error("{path}:{line}: this line of a `basic_auth.users_file` is not `name:hash`")]
    Line { path: PathBuf, line: usize },
    #[error("{path}:{line}: the {field} of a `basic_auth.users_file`")]
    Value {
        path: PathBuf,
        line: usize,
        field: &'static str,
        #[source]
        source: BasicAuthError,
    },
    #[error("{path}:{line}: the name `{name}` stands in an earlier line already")]
    Twice {
        path: PathBuf,
        line: usize,
        name: UserName,
    },
}

impl UserFiles {
    /// Reads every file that a route of the table names; relative ones lie in the credentials directory, when there is
    /// one.
    pub fn read(table: &Table, credentials: Option<&Path>) -> Result<UserFiles, UserFileError> {
        let routes = table.hosts().iter().flat_map(|host| &host.routes);
        let named = routes.filter_map(|route| route.route.basic_auth.as_ref()?.users_file.as_ref());
        let mut files = BTreeMap::new();
        for name in named {
            if files.contains_key(name) {
                continue;
            }
            let path = match credentials {
                Some(directory) => directory.join(name),
                None => name.clone(),
            };
            let text = SecretSource::File(path.clone()).read();
            let text = text.map_err(UserFileError::Read)?;
            files.insert(name.clone(), parse(&path, text.expose())?);
        }
        Ok(UserFiles(files))
    }

    /// Nobody, for a file that was not read.
    pub fn get(&self, name: &Path) -> Option<&Users> {
        self.0.get(name)
    }
}

/// The format of htpasswd(1): empty lines and those that begin with `#` say nothing.
fn parse(path: &Path, text: &str) -> Result<Users, UserFileError> {
    let mut users = Users::new();
    for (index, written) in text.lines().enumerate() {
        let (path, line) = (path.to_owned(), index + 1);
        let written = written.trim_end();
        if written.is_empty() || written.starts_with('#') {
            continue;
        }
        let Some((name, hash)) = written.split_once(':') else {
            return Err(UserFileError::Line { path, line });
        };
        let wrong = |field| {
            let path = path.clone();
            move |source| UserFileError::Value {
                path,
                line,
                field,
                source,
            }
        };
        let name = UserName::try_from(name.to_owned()).map_err(wrong("name"))?;
        let hash = PasswordHash::try_from(hash.to_owned()).map_err(wrong("hash"))?;
        if users.contains_key(&name) {
            return Err(UserFileError::Twice { path, line, name });
        }
        users.insert(name, hash);
    }
    Ok(users)
}
