//! Header fields that an operator sets or removes.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes of a message's fields: first removed, then set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FieldEdits {
    /// `{ X-Powered-By = "seance" }`: replaces all fields of that name.
    pub set: BTreeMap<FieldName, FieldValue>,
    /// `["Server", "X-Internal-*"]`; a `*` at the end stands for anything.
    pub remove: Vec<FieldPattern>,
}

/// The name of a field that may be changed: the framing of messages is ours alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(#[schemars(with = "String")] String);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct FieldValue(#[schemars(with = "String")] HeaderValue);

/// A name, or the beginning of one and `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPattern(#[schemars(with = "String")] String);

#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    #[error("`{0}` is not the name of a header field")]
    Name(String),
    #[error("`{0}` frames messages and connections; it cannot be changed")]
    Framing(String),
    #[error("`Host` is chosen by the option `host`")]
    Host,
    #[error("`{0}` is not the value of a header field: visible ASCII characters and spaces")]
    Value(String),
}

/// Fields that say where a message ends, or belong to one connection.
const FRAMING: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

fn name(text: &str) -> Result<HeaderName, FieldError> {
    let name = HeaderName::try_from(text).map_err(|_| FieldError::Name(text.to_owned()))?;
    if name == header::HOST {
        return Err(FieldError::Host);
    }
    if FRAMING.contains(&name) {
        return Err(FieldError::Framing(text.to_owned()));
    }
    Ok(name)
}

impl TryFrom<String> for FieldName {
    type Error = FieldError;

    fn try_from(text: String) -> Result<FieldName, FieldError> {
        name(&text).map(|_| FieldName(text))
    }
}

impl FieldName {
    pub fn name(&self) -> HeaderName {
        // Checked when it was read.
        HeaderName::try_from(self.0.as_str()).unwrap_or(header::WARNING)
    }
}

impl TryFrom<String> for FieldPattern {
    type Error = FieldError;

    fn try_from(text: String) -> Result<FieldPattern, FieldError> {
        match text.strip_suffix('*') {
            // `*` alone, and `c*`, would take the framing away.
            Some(beginning) => {
                let begun =
                    |name: &HeaderName| name.as_str().starts_with(&beginning.to_ascii_lowercase());
                if FRAMING.iter().any(begun) || begun(&header::HOST) {
                    return Err(FieldError::Framing(text));
                }
                HeaderName::try_from(beginning).map_err(|_| FieldError::Name(text.clone()))?;
            }
            None => drop(name(&text)?),
        }
        Ok(FieldPattern(text.to_ascii_lowercase()))
    }
}

impl FieldPattern {
    pub fn matches(&self, name: &HeaderName) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.as_str().starts_with(beginning),
            None => name.as_str() == self.0,
        }
    }

    /// The one name that it matches, if it is no beginning.
    pub fn exact(&self) -> Option<HeaderName> {
        HeaderName::try_from(self.0.as_str())
            .ok()
            .filter(|_| !self.0.ends_with('*'))
    }
}

impl TryFrom<String> for FieldValue {
    type Error = FieldError;

    fn try_from(text: String) -> Result<FieldValue, FieldError> {
        match HeaderValue::from_str(&text) {
            Ok(value) if value.to_str().is_ok() => Ok(FieldValue(value)),
            _ => Err(FieldError::Value(text)),
        }
    }
}

impl FieldValue {
    /// For defaults.
    pub fn from_static(text: &'static str) -> FieldValue {
        FieldValue(HeaderValue::from_static(text))
    }

    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…") // it may be a password for an upstream
    }
}

impl From<FieldName> for String {
    fn from(name: FieldName) -> String {
        name.0
    }
}

impl From<FieldPattern> for String {
    fn from(pattern: FieldPattern) -> String {
        pattern.0
    }
}

impl From<FieldValue> for String {
    fn from(value: FieldValue) -> String {
        value.0.to_str().unwrap_or_default().to_owned()
    }
}
