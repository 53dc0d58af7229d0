//! A bucket is reached by its own host name too, as AWS and DigitalOcean Spaces want it.

use std::fs;

use crate::harness::bucket::{Bucket, given};
use crate::harness::http::{get, request};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, key_hash};

#[test]
#[ignore = "needs Ceph RGW and root: tests/run"]
fn a_deploy_reaches_a_bucket_that_is_addressed_by_its_host_name() {
    let bucket = Bucket::fresh();
    let dns_name = given("SEANCE_TEST_S3_DNS_NAME");
    let address = bucket.endpoint.trim_start_matches("http://");
    let (_, port) = address.split_once(':').expect("an endpoint with a port");
    let config = bucket
        .toml()
        .replace("path_style = true", "path_style = false");
    let config = config.replace(&bucket.endpoint, &format!("http://{dns_name}:{port}"));
    let home = tempfile::tempdir().expect("a temporary directory");
    let hosts = home.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 {}.{dns_name}\n", bucket.name)).expect("a hosts file");
    // Only the bucket's own name resolves, and only for this daemon.
    let script = format!(
        "mount --bind {} /etc/hosts && exec \"$0\" \"$@\"",
        hosts.display()
    );
    let key_hash = key_hash("key");
    let daemon = Builder::new()
        .config(&format!(
            "{config}[apps.default]\nbuilder_key_hashes = [\"{key_hash}\"]\n"
        ))
        .under(&["unshare", "--mount", "bash", "-c", &script])
        .start();
    let body = br#"{"files":[{"path":"releases/linux-x64/a.bin","content":"aGFsbG8="}]}"#;
    let headers = [
        ("X-Builder-Key", "key"),
        ("Content-Type", "application/json"),
    ];
    let answer = request(daemon.http, "POST", "/deploy", &headers, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(daemon.http, "/updates/linux-x64/a.bin").text(), "hallo");
    wait_until(
        "the public copy is made",
        || bucket.object("prod/releases/linux-x64/a.bin"),
        |copy| copy.as_deref() == Some(b"hallo"),
    );
}
