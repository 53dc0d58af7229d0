//! What the API answers is what its description says, whatever it is asked.

use std::path::Path;
use std::process::Command;

use crate::harness::bucket::secret_file;
use crate::harness::wait::wait_until;
use crate::harness::{Builder, key_hash};

/// Every part of the API that a configuration can switch on.
fn config() -> String {
    let hash = key_hash("secret");
    let key = secret_file("a key for room tokens of 32 bytes or more");
    let turn = secret_file("turn");
    format!(
        "[deploy]\nfailed_keys_per_minute = 1000000\n\
         [signaling]\ntoken_key_files = [\"{key}\"]\napi_key_hashes = [\"{hash}\"]\n\
         [signaling.turn]\nurls = [\"turn:turn.example.com:3478\"]\nsecret_file = \"{turn}\"\n\
         [apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n[hosts.localhost]\n"
    )
}

#[test]
#[ignore = "needs schemathesis: tests/run"]
fn no_request_that_schemathesis_makes_has_an_answer_that_is_not_described() {
    let daemon = Builder::new().config(&config()).start();
    let root = daemon.local_root();
    wait_until("there is a local CA", || root.exists(), |exists| *exists);
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis/bin/schemathesis");
    let port = daemon.https().port();
    let output = Command::new(program)
        .current_dir(daemon.home())
        .arg("run")
        .arg(format!("https://localhost:{port}/openapi.json"))
        .arg("--tls-verify")
        .arg(&root)
        .args(["--header", "X-Builder-Key: secret"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,\
             response_headers_conformance,response_schema_conformance",
        ])
        // The same requests in each run, about thirty for each operation.
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "5",
            "--seed",
            "1",
        ])
        .args([
            "--no-shrink",
            "--continue-on-failure",
            "--request-timeout",
            "30",
            "--warnings",
            "off",
        ])
        .output()
        .expect("schemathesis is installed by tests/run");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(report.contains("No issues found"), "{report}");
    let refused = daemon.log().matches("status=4").count();
    let answered = daemon.log().matches("status=2").count();
    assert!(
        answered > 100 && refused > 100,
        "{answered} answered, {refused} refused"
    );
}
