//! A daemon that serves one host with static files in plain text, and what it answers there.

use std::net::SocketAddr;
use std::path::Path;

use super::http::{Answer, request};
use super::wait::wait_until;
use super::{Builder, Daemon};

/// The host of [`site`].
pub const HOST: &str = "site.test";

/// A daemon whose host answers with `files = { … }`.
pub fn site(files: &str) -> Daemon {
    Builder::new().config(&toml(files)).start()
}

/// The configuration of such a daemon, with the word `secret` as its builder key and the API at `localhost`.
pub fn toml(files: &str) -> String {
    format!(
        "[apps.default]\nbuilder_key_hashes = [\"{}\"]\n[hosts.localhost]\ntls = \"off\"\n[hosts.\"{HOST}\"]\ntls = \"off\"\n\
         [[hosts.\"{HOST}\".routes]]\nto = {{ files = {{ {files} }} }}\n",
        super::key_hash("secret")
    )
}

/// The options for a directory, and more of them.
pub fn directory(path: &Path, more: &str) -> String {
    format!("directory = \"{}\"{more}", path.display())
}

pub fn ask(daemon: &Daemon, path: &str, extra: &[(&str, &str)]) -> Answer {
    ask_by(daemon.http, "GET", path, extra)
}

pub fn ask_by(address: SocketAddr, method: &str, path: &str, extra: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("Host", HOST)];
    headers.extend(extra);
    request(address, method, path, &headers, b"")
}

/// The answer once it is in this coding: compressed forms are made in the background.
pub fn coded(daemon: &Daemon, path: &str, coding: &str) -> Answer {
    let ask = || ask(daemon, path, &[("Accept-Encoding", coding)]);
    let is_coded = |answer: &Answer| answer.header("content-encoding") == Some(coding);
    wait_until("the file is compressed", ask, is_coded)
}

/// What a body in this coding holds.
pub fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
        "zstd" => {
            plain = zstd::stream::decode_all(body).expect("zstd");
            Ok(0)
        }
        _ => panic!("an unknown coding: {coding}"),
    }
    .expect("a body in this coding");
    plain
}

/// Writes files, and the directories they lie in.
pub fn write(root: &Path, files: &[(&str, &[u8])]) {
    for (name, content) in files {
        let file = root.join(name);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        std::fs::write(file, content).expect("a file");
    }
}
