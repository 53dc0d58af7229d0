//! A client of drafts that does everything by hand.

use std::net::SocketAddr;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::Daemon;
use super::http::{Answer, Connection, head};
use super::release::Files;

/// Someone with a builder key at one node.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub address: SocketAddr,
    pub key: &'a str,
}

pub fn sha256(content: &[u8]) -> String {
    hex::encode(digest(&SHA256, content))
}

/// The body of a declaration.
pub fn declaration(job: &str, files: &Files) -> Value {
    let file = |(path, content): (&String, &Vec<u8>)| json!({"path": path, "size": content.len(), "sha256": sha256(content)});
    json!({"job": job, "files": files.iter().map(file).collect::<Vec<_>>()})
}

impl<'a> Client<'a> {
    pub fn of(daemon: &Daemon, key: &'a str) -> Client<'a> {
        let address = daemon.http;
        Client { address, key }
    }

    /// A request whose connection may be cut: `None` without an answer.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut connection = Connection::try_open(self.address).ok()?;
        let mut headers = vec![
            ("X-Builder-Key", self.key),
            ("Content-Type", "application/json"),
        ];
        headers.extend(extra);
        connection
            .try_send(&head(method, path, &headers, Some(body.len())))
            .ok()?;
        // A server that refuses on the head may close before it has the body.
        let _sent = connection.try_send(body);
        connection.try_answer(true)
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.try_send(method, path, &[], body.as_bytes())
            .expect("an answer")
    }

    /// Opens a draft.
    #[track_caller]
    pub fn open(&self) -> String {
        let answer = self.send("POST", "/api/releases", &json!({}));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(
            answer.header("location"),
            Some(format!("/api/drafts/{id}").as_str())
        );
        id
    }

    #[track_caller]
    pub fn declare(&self, id: &str, job: &str, files: &Files) -> Answer {
        self.send(
            "PUT",
            &format!("/api/drafts/{id}/files"),
            &declaration(job, files),
        )
    }

    /// Declares one file that is not there yet; gives its upload.
    #[track_caller]
    pub fn upload(&self, id: &str, job: &str, files: &Files) -> String {
        let declared = self.declare(id, job, files).json();
        let upload = declared["files"][0]["upload"].as_str();
        upload.expect("an upload").to_owned()
    }

    pub fn part(&self, id: &str, upload: &str, n: u64, bytes: &[u8]) -> Option<Answer> {
        self.try_send(
            "PUT",
            &format!("/api/drafts/{id}/uploads/{upload}/parts/{n}"),
            &[],
            bytes,
        )
    }

    pub fn complete(&self, id: &str, upload: &str) -> Option<Answer> {
        self.try_send(
            "POST",
            &format!("/api/drafts/{id}/uploads/{upload}/complete"),
            &[],
            b"",
        )
    }

    #[track_caller]
    pub fn delete(&self, id: &str) -> Answer {
        self.send("DELETE", &format!("/api/drafts/{id}"), &Value::Null)
    }

    pub fn publish(&self, id: &str) -> Option<Answer> {
        self.try_send("POST", &format!("/api/drafts/{id}/publish"), &[], b"{}")
    }

    /// Declares the files and sends what is missing; `None` as soon as a request is not answered.
    #[track_caller]
    pub fn fill(&self, id: &str, job: &str, files: &Files, part_bytes: usize) -> Option<()> {
        self.fill_counting(id, job, files, part_bytes, &mut 0)
    }

    /// The same; counts the parts that it begins to send.
    #[track_caller]
    pub fn fill_counting(
        &self,
        id: &str,
        job: &str,
        files: &Files,
        part_bytes: usize,
        sent: &mut usize,
    ) -> Option<()> {
        let body = declaration(job, files).to_string();
        let path = format!("/api/drafts/{id}/files");
        let declared = self.try_send("PUT", &path, &[], body.as_bytes())?;
        assert_eq!(declared.status, 200, "{}", declared.text());
        let declared = declared.json();
        let declared = declared["files"].as_array().expect("files");
        for (file, content) in declared.iter().zip(files.values()) {
            if file["state"] == "present" {
                continue;
            }
            let upload = file["upload"].as_str().expect("an upload");
            for n in file["missingParts"].as_array().expect("parts") {
                let n = n.as_u64().expect("a number");
                let start = usize::try_from(n - 1).expect("a small number") * part_bytes;
                let part = &content[start..content.len().min(start + part_bytes)];
                *sent += 1;
                let answer = self.part(id, upload, n, part)?;
                assert_eq!(answer.status, 204, "{}", answer.text());
            }
            let answer = self.complete(id, upload)?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["state"], "present");
        }
        Some(())
    }
}
