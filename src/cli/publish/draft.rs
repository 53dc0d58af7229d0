//! A draft on the daemon: what it has, what it lacks, and its publication.

use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::digest::Item;
use super::error::PublishError;
use super::progress::Progress;
use crate::cli::client::{Client, ClientError, LONG_PATIENCE, PATIENCE, Signed};
use crate::release::ReleaseId;

/// Files that are declared with one request.
const BATCH: usize = 1000;
/// What stands as it is in a path (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A draft that is filled.
pub struct Draft<'a> {
    pub client: &'a Client,
    pub progress: &'a Progress,
    pub state: State,
}

/// As the daemon describes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub id: ReleaseId,
    pub part_bytes: u64,
    pub expires: String,
    /// Whether it gives signed URLs for parts.
    #[serde(default)]
    pub presigned_parts: bool,
    /// Number of the record that published it.
    #[serde(default)]
    pub record: Option<u64>,
}

/// A file of which the daemon lacks some bytes.
#[derive(Debug)]
pub struct Lacking<'a> {
    pub item: &'a Item,
    pub upload: String,
    /// Numbers from 1; none when it only has to be put together.
    pub parts: Vec<u64>,
}

#[derive(Deserialize)]
struct Declared {
    files: Vec<DeclaredFile>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum DeclaredFile {
    Present {},
    #[serde(rename_all = "camelCase")]
    Missing {
        upload: String,
        #[serde(default)]
        missing_parts: Vec<u64>,
    },
}

impl<'a> Draft<'a> {
    pub async fn open(
        client: &'a Client,
        progress: &'a Progress,
    ) -> Result<Draft<'a>, PublishError> {
        let body = json!({});
        let state = again(
            client,
            progress,
            Method::POST,
            "/api/releases",
            Some(&body),
            PATIENCE,
        );
        let state = state.await?;
        Ok(Draft {
            client,
            progress,
            state,
        })
    }

    /// A draft that was opened before.
    pub async fn find(
        client: &'a Client,
        progress: &'a Progress,
        id: ReleaseId,
    ) -> Result<Draft<'a>, PublishError> {
        let path = format!("/api/drafts/{id}");
        match again(client, progress, Method::GET, &path, None, PATIENCE).await {
            Ok(state) => Ok(Draft {
                client,
                progress,
                state,
            }),
            Err(error) => Err(unknown(error, id)),
        }
    }

    /// Says what the draft is to hold; tells what has to be sent for that. Files with the same bytes are sent once.
    pub async fn declare<'i>(
        &self,
        job: &str,
        items: &'i [Item],
    ) -> Result<Vec<Lacking<'i>>, PublishError> {
        let path = self.path("files");
        let mut lacking: Vec<Lacking<'i>> = Vec::new();
        let mut uploads = std::collections::HashSet::new();
        for batch in items.chunks(BATCH) {
            let files: Vec<Value> = batch.iter().map(declaration).collect();
            let body = json!({ "job": job, "files": files });
            let declared: Declared = self.ask(Method::PUT, &path, Some(&body), PATIENCE).await?;
            for (item, state) in batch.iter().zip(declared.files) {
                if let DeclaredFile::Missing {
                    upload,
                    missing_parts: parts,
                } = state
                    && uploads.insert(upload.clone())
                {
                    lacking.push(Lacking {
                        item,
                        upload,
                        parts,
                    });
                }
            }
        }
        Ok(lacking)
    }

    /// Where part `n` of an upload goes.
    pub fn part_path(&self, upload: &str, n: u64) -> String {
        let upload = utf8_percent_encode(upload, SEGMENT);
        self.path(&format!("uploads/{upload}/parts/{n}"))
    }

    /// A way past the daemon for part `n` of an upload, which has this `md5`. Asked for once: without one there is the
    /// daemon.
    pub async fn pass(&self, upload: &str, n: u64, md5: [u8; 16]) -> Result<Signed, ClientError> {
        let path = format!("{}/url", self.part_path(upload, n));
        let body = json!({ "md5": hex::encode(md5) });
        let asked = self.client.ask(Method::POST, &path, Some(&body), PATIENCE);
        asked.await
    }

    /// Has the parts put together and their hash compared; `Err` of the inner kind says why that is not to be.
    pub async fn complete(&self, upload: &str) -> Result<Result<(), String>, PublishError> {
        let upload = utf8_percent_encode(upload, SEGMENT);
        let path = self.path(&format!("uploads/{upload}/complete"));
        let done = self
            .ask(Method::POST, &path, Some(&json!({})), LONG_PATIENCE)
            .await;
        match done {
            Ok(Value::Object(_) | Value::Null) => Ok(Ok(())),
            Ok(other) => Ok(Err(other.to_string())),
            Err(PublishError::Client(ClientError::Refused(refusal)))
                if matches!(
                    refusal.status,
                    StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
                ) =>
            {
                Ok(Err(refusal.message))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the draft true; again, it gives the same answer.
    pub async fn publish(&self, rollout: Option<u8>, force: bool) -> Result<Value, PublishError> {
        let mut body = json!({ "force": force });
        if let Some(rollout) = rollout {
            body["rollout"] = rollout.into();
        }
        let answer = self
            .ask(
                Method::POST,
                &self.path("publish"),
                Some(&body),
                LONG_PATIENCE,
            )
            .await;
        let Err(PublishError::Client(ClientError::Refused(refusal))) = &answer else {
            return answer;
        };
        let body = &refusal.body;
        let mut reasons = lines(&body["reasons"]);
        let changed = lines(&body["paths"]).into_iter();
        reasons.extend(changed.map(|path| format!("{path}: is published with other bytes")));
        let missing = lines(&body["missing"]);
        match refusal.status {
            StatusCode::CONFLICT if !missing.is_empty() => Err(PublishError::Missing(missing)),
            _ if !reasons.is_empty() => Err(PublishError::Refused(reasons)),
            _ => answer,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/drafts/{}/{rest}", self.state.id)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: std::time::Duration,
    ) -> Result<T, PublishError> {
        let answer = again(self.client, self.progress, method, path, body, patience).await;
        answer.map_err(|error| unknown(error, self.state.id))
    }
}

/// Asks until there is an answer that will not change; every request here may be made twice.
async fn again<T: DeserializeOwned>(
    client: &Client,
    progress: &Progress,
    method: Method,
    path: &str,
    body: Option<&Value>,
    patience: std::time::Duration,
) -> Result<T, ClientError> {
    let mut retries = client.retries();
    loop {
        match client.ask(method.clone(), path, body, patience).await {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                retries
                    .wait(error, |error, pause| progress.again(path, error, pause))
                    .await?
            }
        }
    }
}

fn unknown(error: ClientError, id: ReleaseId) -> PublishError {
    match error {
        ClientError::Refused(refusal) if refusal.status == StatusCode::NOT_FOUND => {
            PublishError::NoDraft(id)
        }
        error => error.into(),
    }
}

fn declaration(item: &Item) -> Value {
    json!({
        "path": item.path.as_str(),
        "size": item.size,
        "sha256": hex::encode(item.sha256),
    })
}

/// A list of texts, or of paths with what is wrong with each.
fn lines(list: &Value) -> Vec<String> {
    let line = |entry: &Value| match (entry["path"].as_str(), entry["message"].as_str()) {
        (Some(path), Some(message)) => format!("{path}: {message}"),
        _ => entry
            .as_str()
            .map_or_else(|| entry.to_string(), str::to_owned),
    };
    list.as_array().into_iter().flatten().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_in_either_form() {
        let list = json!(["plain", { "path": "a", "message": "b" }, { "other": 1 }]);
        assert_eq!(lines(&list), ["plain", "a: b", "{\"other\":1}"]);
        assert_eq!(lines(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn what_the_daemon_says_of_a_file_is_read() {
        let text = r#"{"files":[{"path":"a","state":"present"},
            {"path":"b","state":"missing","upload":"u","missingParts":[2,3]},
            {"path":"c","state":"missing","upload":"v"}]}"#;
        let declared: Declared = serde_json::from_str(text).unwrap();
        assert!(matches!(declared.files[0], DeclaredFile::Present {}));
        assert!(
            matches!(&declared.files[1], DeclaredFile::Missing { missing_parts, .. } if *missing_parts == [2, 3])
        );
    }
}
