//! Layers a configuration: defaults < file < `SEANCE_*` environment < the names of existing deployments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::aliases;
use super::basic_auth::HASHES;
use super::domains;
use super::file::File;
use super::keys::{Keys, Kind};
use super::places::{self, position};
use super::table::Places;

/// The environment that belongs to us; other variables are not looked at.
pub type Environment = BTreeMap<String, String>;

/// A configuration file larger than this is a mistake, bytes.
const FILE_MOST: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("cannot read the configuration {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is larger than {FILE_MOST} bytes")]
    Large { path: PathBuf },
    #[error("{path}:{line}:{column}: unknown key `{key}`{}", did_you_mean(nearest))]
    UnknownKey {
        path: PathBuf,
        line: usize,
        column: usize,
        key: String,
        nearest: Option<String>,
    },
    #[error(
        "the environment variable {variable} names an unknown key{}",
        did_you_mean(nearest)
    )]
    UnknownVariable {
        variable: String,
        nearest: Option<String>,
    },
    #[error("{variable}={value} is not {wanted}")]
    Variable {
        variable: String,
        value: String,
        wanted: &'static str,
    },
    #[error("the value of {variable} does not fit")]
    Override {
        variable: String,
        #[source]
        source: Box<config::ConfigError>,
    },
    #[error(
        "{path}:{line}:{column}: `{key}` is a secret and has no place in this file: name a file that holds it with \
         `{key}_file`, or set it in the environment"
    )]
    InlineSecret {
        path: PathBuf,
        line: usize,
        column: usize,
        key: String,
    },
    #[error(
        "{path}:{line}:{column}: this is not valid, and not shown because it looks like a secret; \
         a secret is a text in quotes, better kept in the file that the option with `_file` at its end names"
    )]
    Secret {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    #[error("{path}:{line}:{column}: the number at `{key}` is too large")]
    Number {
        path: PathBuf,
        line: usize,
        column: usize,
        key: String,
    },
    #[error("{path}:{line}:{column}: {why}")]
    Password {
        path: PathBuf,
        line: usize,
        column: usize,
        why: String,
    },
    #[error("{path} is not a valid configuration")]
    Toml {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("the configuration does not fit together")]
    Merge(#[source] config::ConfigError),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|key| format!("; did you mean `{key}`?"))
        .unwrap_or_default()
}

/// Each can also be given as a file, by the same key with `_file` at its end.
const SECRETS: &[&str] = &[
    "store.s3.access_key_id",
    "store.s3.secret_access_key",
    "signaling.turn.secret",
    "signaling.nats.token",
    "signaling.nats.password",
    "acme.eab_hmac_key",
];

/// The variables of this process that are part of the configuration.
#[expect(
    clippy::disallowed_methods,
    reason = "the room that reads the environment"
)]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))) // ours are all UTF-8
        .filter(|(name, _)| {
            (name.starts_with("SEANCE_") && !name.starts_with("SEANCE_TEST_"))
                || name == "PORT"
                || domains::is_variable(name)
                || aliases::is_variable(name)
        })
        .collect()
}

/// The file and where it names each host.
pub fn load(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<(File, HashMap<String, Places>), LayerError> {
    let keys = Keys::new();
    let mut layers = config::Config::builder();
    let mut places = HashMap::new();
    if let Some(path) = path {
        let text = read(path)?;
        places = check(path, &text, &keys)?;
        layers = layers.add_source(config::File::from_str(&text, config::FileFormat::Toml));
    }
    let mut given = BTreeSet::new();
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix("SEANCE_") else {
            continue;
        };
        let key: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
        let node = keys
            .at(&key)
            .ok_or_else(|| unknown_variable(variable, &key, &keys))?;
        let key = key.join(".");
        layers = set(layers, &key, variable, value, keys.kind(node))?;
        given.insert(key);
    }
    layers = aliases::add(layers, environment, &mut given)?;
    layers = replace_secrets(layers, &given)?;
    let mut file: File = layers
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(LayerError::Merge)?;
    let named = domains::add(&mut file.hosts, &mut places, environment)?;
    // Where these variables were written, PORT is the one at which Caddy found the backend: nobody asks there any more,
    // and the redirects have to be on port 80.
    let port = environment.get("PORT").filter(|_| !named);
    if let Some(value) = port.filter(|value| !value.is_empty()) {
        let wrong = |_| wrong("PORT", value, "a port between 0 and 65535");
        let port: u16 = value.parse().map_err(wrong)?;
        let mut listen = file.http.listeners(!file.hosts.is_empty());
        listen.iter_mut().for_each(|address| address.set_port(port));
        file.http.listen = Some(listen);
    }
    Ok((file, places))
}

fn read(path: &Path) -> Result<String, LayerError> {
    let failed = |source| LayerError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MOST {
        return Err(LayerError::Large {
            path: path.to_owned(),
        });
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Parses the file by itself: the toml crate names the line and the column of a wrong value, the layers cannot.
fn check(path: &Path, text: &str, keys: &Keys) -> Result<HashMap<String, Places>, LayerError> {
    let failed = |source| invalid(path, text, source);
    let table = DeTable::parse(text).map_err(failed)?;
    check_table(
        path,
        text,
        table.get_ref(),
        keys,
        keys.root(),
        &mut Vec::new(),
    )?;
    toml::from_str::<File>(text).map_err(failed)?;
    Ok(places::hosts(path, text, table.get_ref()))
}

/// The toml crate shows the line of an error, which must not happen to a secret.
fn invalid(path: &Path, text: &str, source: toml::de::Error) -> LayerError {
    let path = path.to_owned();
    if let Some(span) = source.span() {
        let (line, column) = position(text, span.start);
        if source.message().starts_with(HASHES) {
            let why = source.message().to_owned();
            return LayerError::Password {
                path,
                line,
                column,
                why,
            };
        }
        let shown = text.lines().nth(line - 1).unwrap_or_default();
        let above = text.lines().take(line);
        let section = above.filter(|line| line.trim_start().starts_with('['));
        let section = section.last().unwrap_or_default();
        let shown = shown.to_ascii_lowercase().replace("_file", "");
        if ["secret", "access_key", "basic_auth"]
            .iter()
            .any(|word| shown.contains(word))
            || section.contains("basic_auth")
        {
            return LayerError::Secret { path, line, column };
        }
    }
    LayerError::Toml { path, source }
}

fn check_table(
    path: &Path,
    text: &str,
    table: &DeTable<'_>,
    keys: &Keys,
    section: &Value,
    above: &mut Vec<String>,
) -> Result<(), LayerError> {
    for (key, value) in table {
        let Some(node) = keys.child(section, key.get_ref()) else {
            let (line, column) = position(text, key.span().start);
            let nearest = keys
                .nearest(section, key.get_ref())
                .map(|known| dotted(above, known));
            let key = dotted(above, key.get_ref());
            return Err(LayerError::UnknownKey {
                path: path.to_owned(),
                line,
                column,
                key,
                nearest,
            });
        };
        if SECRETS.contains(&dotted(above, key.get_ref()).as_str()) {
            let (line, column) = position(text, key.span().start);
            return Err(LayerError::InlineSecret {
                path: path.to_owned(),
                line,
                column,
                key: dotted(above, key.get_ref()),
            });
        }
        if let DeValue::Integer(number) = value.get_ref()
            && i64::from_str_radix(number.as_str(), number.radix()).is_err()
        {
            let (line, column) = position(text, value.span().start);
            return Err(LayerError::Number {
                path: path.to_owned(),
                line,
                column,
                key: dotted(above, key.get_ref()),
            });
        }
        above.push(key.get_ref().to_string());
        check_value(path, text, value.get_ref(), keys, node, above)?;
        above.pop();
    }
    Ok(())
}

fn check_value(
    path: &Path,
    text: &str,
    value: &DeValue<'_>,
    keys: &Keys,
    node: &Value,
    above: &mut Vec<String>,
) -> Result<(), LayerError> {
    match value {
        DeValue::Table(inner) if keys.is_table(node) => {
            check_table(path, text, inner, keys, node, above)
        }
        DeValue::Array(items) => {
            let Some(item) = keys.item(node) else {
                return Ok(());
            };
            items
                .iter()
                .try_for_each(|value| check_value(path, text, value.get_ref(), keys, item, above))
        }
        _ => Ok(()),
    }
}

fn dotted(above: &[String], key: &str) -> String {
    above
        .iter()
        .map(String::as_str)
        .chain([key])
        .collect::<Vec<_>>()
        .join(".")
}

fn unknown_variable(variable: &str, key: &[String], keys: &Keys) -> LayerError {
    let known = (0..key.len())
        .rev()
        .find_map(|depth| Some((depth, keys.at(&key[..depth])?)));
    let nearest = known.and_then(|(depth, section)| {
        let mut path = key[..depth].to_vec();
        path.push(keys.nearest(section, &key[depth])?.to_owned());
        Some(format!("SEANCE_{}", path.join("__").to_ascii_uppercase()))
    });
    LayerError::UnknownVariable {
        variable: variable.to_owned(),
        nearest,
    }
}

pub type Layers = config::ConfigBuilder<config::builder::DefaultState>;

pub fn set(
    layers: Layers,
    key: &str,
    variable: &str,
    value: &str,
    kind: Kind,
) -> Result<Layers, LayerError> {
    let value: config::Value = match kind {
        Kind::Integer => {
            let number: i64 = value
                .parse()
                .map_err(|_| wrong(variable, value, "an integer"))?;
            number.into()
        }
        Kind::Boolean => {
            let flag: bool = value
                .parse()
                .map_err(|_| wrong(variable, value, "true or false"))?;
            flag.into()
        }
        Kind::List => {
            let items: Vec<&str> = value
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect();
            items.into()
        }
        Kind::Text => value.into(),
        Kind::Section | Kind::Map => {
            return Err(wrong(variable, value, "possible: the key is a section"));
        }
    };
    let failed = |source| LayerError::Override {
        variable: variable.to_owned(),
        source: Box::new(source),
    };
    // First by itself: the error of all layers together would not name the variable.
    config::Config::builder()
        .set_override(key, value.clone())
        .and_then(|alone| alone.build()?.try_deserialize::<File>())
        .map_err(failed)?;
    layers.set_override(key, value).map_err(failed)
}

/// A secret of the environment takes the place of the file's, whichever way each of them is given.
fn replace_secrets(mut layers: Layers, given: &BTreeSet<String>) -> Result<Layers, LayerError> {
    for key in SECRETS {
        let in_file = format!("{key}_file");
        let replaced = match (given.contains(*key), given.contains(&in_file)) {
            (true, false) => in_file,
            (false, true) => (*key).to_owned(),
            _ => continue,
        };
        let nothing = config::Value::new(None, config::ValueKind::Nil);
        layers = layers
            .set_override(replaced, nothing)
            .map_err(LayerError::Merge)?;
    }
    Ok(layers)
}

pub fn wrong(variable: &str, value: &str, wanted: &'static str) -> LayerError {
    LayerError::Variable {
        variable: variable.to_owned(),
        value: value.to_owned(),
        wanted,
    }
}

/// XDG Base Directory Specification: `$XDG_STATE_HOME`, else `~/.local/state`.
#[expect(
    clippy::disallowed_methods,
    reason = "the room that reads the environment"
)]
pub fn user_state_directory() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("seance"))
}
