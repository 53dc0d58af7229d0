//! `seance key`: makes builder keys, here or for a daemon elsewhere.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::client::{self, ClientError, Remote};
use crate::clock;
use crate::config::BuilderKeyHash;

#[derive(Subcommand)]
pub enum Key {
    /// Make a key; print it and what goes into the configuration
    New {
        #[command(flatten)]
        limits: Limits,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key, print it, and have a daemon know it from now on
    Add {
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        remote: Remote,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// The keys that a daemon knows, by fingerprint
    List {
        #[command(flatten)]
        remote: Remote,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a key do nothing any more, at once and for ever
    Revoke {
        /// Eight hexadecimal digits, from `seance key list`
        fingerprint: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print the hash of the key on standard input
    Hash,
}

/// What narrows a key; without any of them it may do everything.
#[derive(Args)]
pub struct Limits {
    /// What it is called in lists
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// What it is for; may be given several times
    #[arg(long = "scope", value_parser = ["publish", "read", "control"])]
    scopes: Vec<String>,
    /// Where it may publish: a file, or a directory with a `/` at the end; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// When it ends: 90d, or 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot get random bytes from the system")]
    Random(#[source] aws_lc_rs::error::Unspecified),
    #[error("cannot read a key from standard input")]
    Read(#[source] std::io::Error),
    #[error("standard input holds no key")]
    Empty,
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok()); // else it is a time
    let expires = match days {
        Some(days @ 1..=36_500) => clock::now()
            .checked_add(SignedDuration::from_hours(24 * days))
            .ok(), // beyond the year 9999
        _ => text.parse().ok(), // the message says what is wanted
    };
    expires.ok_or_else(|| format!("`{text}` is not a number of days (90d) or a time (RFC 3339)"))
}

pub fn run(command: &Key) -> Result<(), KeyError> {
    let text = match command {
        Key::New { limits, json } => {
            let (key, hash) = generate()?;
            match json {
                true => format!("{}\n", limits.described(&key, &hash)),
                false => limits.printed(&key, &hash),
            }
        }
        Key::Add {
            limits,
            remote,
            json,
        } => {
            let (key, hash) = generate()?;
            let told = limits.described(&key, &hash);
            let mut request = told.clone();
            if let Some(members) = request.as_object_mut() {
                // Nobody but its holder learns the key.
                members.remove("key");
            }
            client::ask(remote, Method::POST, "/api/keys", Some(&request))?;
            match json {
                true => format!("{told}\n"),
                false => {
                    format!(
                        "key   {key}   (for CI: the secret BUILDER_KEY; it is shown only now)\n"
                    )
                }
            }
        }
        Key::List { remote, json } => {
            let answer = client::ask(remote, Method::GET, "/api/keys", None)?;
            match json {
                true => format!("{answer}\n"),
                false => table(&answer),
            }
        }
        Key::Revoke {
            fingerprint,
            remote,
        } => {
            let path = format!("/api/keys/{fingerprint}");
            let answer = client::ask(remote, Method::DELETE, &path, None)?;
            format!(
                "{fingerprint} is revoked here, on other nodes within {} s\n",
                answer["inForce"]["otherNodesWithinSeconds"]
            )
        }
        Key::Hash => hash_of_input()?,
    };
    super::print(&text);
    Ok(())
}

fn generate() -> Result<(String, String), KeyError> {
    let key = crate::daemon::builder_key::generate().map_err(KeyError::Random)?;
    let hash = String::from(BuilderKeyHash::of(&key));
    Ok((key, hash))
}

fn hash_of_input() -> Result<String, KeyError> {
    let mut key = String::new();
    std::io::stdin()
        .read_line(&mut key)
        .map_err(KeyError::Read)?;
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    Ok(format!("{}\n", String::from(BuilderKeyHash::of(key))))
}

impl Limits {
    fn described(&self, key: &str, hash: &str) -> Value {
        let mut described = json!({ "key": key, "hash": hash });
        if !self.name.is_empty() {
            described["name"] = json!(self.name);
        }
        for (name, list) in [("scopes", &self.scopes), ("paths", &self.paths)] {
            if !list.is_empty() {
                described[name] = json!(list);
            }
        }
        if let Some(expires) = self.expires {
            described["expires"] = json!(expires);
        }
        described
    }

    fn printed(&self, key: &str, hash: &str) -> String {
        let mut text =
            format!("key   {key}   (for CI: the secret BUILDER_KEY; it is shown only now)\n");
        let described = self.described(key, hash);
        let narrowed = described.as_object().filter(|limits| limits.len() > 2);
        let Some(limits) = narrowed else {
            return format!("{text}hash  {hash}   (for the configuration: builder_key_hashes)\n");
        };
        text.push_str("for the configuration:\n\n[[apps.default.keys]]\n");
        for (name, value) in limits.iter().filter(|(name, _)| *name != "key") {
            // JSON's strings and lists of strings are TOML's too; writing to a String cannot fail.
            let _infallible = writeln!(text, "{name} = {value}");
        }
        text
    }
}

fn table(answer: &Value) -> String {
    let mut text = format!(
        "{:<11}  {:<8}  {:<13}  {:<24}  {:<22}  {:<20}  {}\n",
        "fingerprint", "state", "source", "expires", "scopes", "name", "paths"
    );
    for key in answer["keys"].as_array().into_iter().flatten() {
        let word = |name: &str| key[name].as_str().unwrap_or_default();
        let list = |name: &str| {
            let words = key[name].as_array().into_iter().flatten();
            let words: Vec<&str> = words.filter_map(Value::as_str).collect();
            match words.is_empty() {
                true => "all".to_owned(),
                false => words.join(","),
            }
        };
        let _infallible = writeln!(
            text,
            "{:<11}  {:<8}  {:<13}  {:<24}  {:<22}  {:<20}  {}",
            word("fingerprint"),
            word("state"),
            word("source"),
            word("expires"),
            list("scopes"),
            word("name"),
            list("paths")
        );
    }
    text
}
