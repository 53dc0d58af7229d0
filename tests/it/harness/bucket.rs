//! A bucket of its own at the Ceph RGW that `tests/run` started.

use std::process::{Command, Output};

/// An empty bucket; the server keeps it until the end of the test run.
pub struct Bucket {
    pub name: String,
    pub endpoint: String,
    access_key: String,
    secret_key: String,
}

/// A file that holds a secret of the tests; the same one for the same text.
pub fn secret_file(text: &str) -> String {
    let file = std::env::temp_dir().join(format!("seance-test-secret-{text}"));
    // Under another name first: tests that run side by side read it.
    let new = file.with_extension(uuid::Uuid::now_v7().to_string());
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(new, &file).expect("a file");
    file.display().to_string()
}

impl Bucket {
    pub fn fresh() -> Bucket {
        let bucket = Bucket {
            name: format!("it-{}", uuid::Uuid::now_v7()),
            endpoint: given("SEANCE_TEST_S3_ENDPOINT"),
            access_key: given("SEANCE_TEST_S3_ACCESS_KEY"),
            secret_key: given("SEANCE_TEST_S3_SECRET_KEY"),
        };
        bucket.request("PUT", "");
        bucket
    }

    /// The part of a configuration that makes this bucket the store.
    pub fn toml(&self) -> String {
        format!(
            "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"{}\"\nendpoint = \"{}\"\npath_style = true\n\
             access_key_id_file = \"{}\"\nsecret_access_key_file = \"{}\"\n",
            self.name,
            self.endpoint,
            secret_file(&self.access_key),
            secret_file(&self.secret_key)
        )
    }

    /// Where anybody can read the bucket's public objects, as from a CDN.
    pub fn public(&self) -> String {
        format!("{}/{}", self.endpoint, self.name)
    }

    /// The body of a signed request for `path` (a key, or a query such as `?list-type=2`) in the bucket.
    pub fn request(&self, method: &str, path: &str) -> Vec<u8> {
        let output = self.signed(method, path);
        assert!(output.status.success(), "{method} {path}: {output:?}");
        output.stdout
    }

    /// The object `key`, if there is one.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        let output = self.signed("GET", key);
        output.status.success().then_some(output.stdout)
    }

    fn signed(&self, method: &str, path: &str) -> Output {
        Command::new("curl")
            .args([
                "-sS",
                "--fail-with-body",
                "--aws-sigv4",
                "aws:amz:us-east-1:s3",
            ])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-X", method])
            .args([
                "--user",
                &format!("{}:{}", self.access_key, self.secret_key),
            ])
            .arg(format!("{}/{path}", self.public()))
            .output()
            .expect("curl runs")
    }
}

/// A value that `tests/run` found out.
#[expect(
    clippy::disallowed_methods,
    reason = "tests/run says by environment where the servers are"
)]
pub fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this test by tests/run"))
}
