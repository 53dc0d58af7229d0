//! `seance key`: makes builder keys.

use clap::Subcommand;

use crate::config::BuilderKeyHash;

#[derive(Subcommand)]
pub enum Key {
    /// Make a key; print it and the hash that goes into the configuration
    New {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the hash of the key on standard input
    Hash,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot get random bytes from the system")]
    Random(#[source] aws_lc_rs::error::Unspecified),
    #[error("cannot read a key from standard input")]
    Read(#[source] std::io::Error),
    #[error("standard input holds no key")]
    Empty,
}

pub fn run(command: &Key) -> Result<(), KeyError> {
    let text = match command {
        Key::New { json } => {
            let key = crate::daemon::builder_key::generate().map_err(KeyError::Random)?;
            let hash = String::from(BuilderKeyHash::of(&key));
            if *json {
                format!("{}\n", serde_json::json!({ "key": key, "hash": hash }))
            } else {
                format!(
                    "key   {key}   (for CI: the secret BUILDER_KEY; it is shown only now)\n\
                     hash  {hash}   (for the configuration: builder_key_hashes)\n"
                )
            }
        }
        Key::Hash => {
            let mut key = String::new();
            std::io::stdin()
                .read_line(&mut key)
                .map_err(KeyError::Read)?;
            let key = key.trim_end_matches(['\r', '\n']);
            if key.is_empty() {
                return Err(KeyError::Empty);
            }
            format!("{}\n", String::from(BuilderKeyHash::of(key)))
        }
    };
    super::print(&text);
    Ok(())
}
