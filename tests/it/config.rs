//! A configuration is proved before it is used, and a wrong one is answered with where and what.

use std::path::Path;

use crate::harness::Builder;
use crate::harness::command::{check_config, path, seance};

#[track_caller]
fn refused(toml: &str, environment: &[(&str, &str)], wanted: &[&str]) {
    let output = check_config(toml, environment);
    assert_eq!(output.code, 1, "accepted: {toml}");
    for wanted in wanted {
        assert!(
            output.stderr.contains(wanted),
            "no {wanted:?} in:\n{}",
            output.stderr
        );
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_key() {
    refused(
        "[http]\nworkers = 1\nlistn = []\n",
        &[],
        &[
            "config.toml:3:1",
            "unknown key `http.listn`",
            "did you mean `http.listen`",
        ],
    );
    refused(
        "[apps.default]\nbuilder_key_hash = []\n",
        &[],
        &["apps.default.builder_key_hashes"],
    );
    refused("[strore]\n", &[], &["did you mean `store`"]);
    let misspelt = [("SEANCE_HTTP__LISTN", "127.0.0.1:1")];
    refused(
        "",
        &misspelt,
        &["SEANCE_HTTP__LISTN", "did you mean `SEANCE_HTTP__LISTEN`"],
    );
}

#[test]
fn a_wrong_value_is_shown_with_its_line() {
    refused(
        "[http]\nlisten = [\"nope\"]\n",
        &[],
        &["line 2, column 11", "socket address"],
    );
    refused(
        "[http]\nmax_streams = 0\n",
        &[],
        &["`http.max_streams` is 0", "between 1 and 10000"],
    );
    refused(
        "[deploy]\nlint = \"stern\"\n",
        &[],
        &["line 2", "warn", "enforce"],
    );
    refused("[http]\nlisten = []\n", &[], &["`http.listen` is empty"]);
    refused(
        "[log]\nfilter = \"a=b=c\"\n",
        &[],
        &["`log.filter` is not a filter"],
    );
    refused(
        "[apps.default]\nbuilder_key_hashes = [\"short\"]\n",
        &[],
        &["seance key new"],
    );
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    refused(
        &format!("[apps.default]\nbuilder_key_hashes = [\"{empty}\"]\n"),
        &[],
        &["the empty key"],
    );
    let shadowed = "[apps.default]\nprefix = \"updates/x\"\n";
    refused(shadowed, &[], &["line 2", "begins like a route"]);
    refused("[apps.health]\n", &[], &["begins like a route"]);
    refused("[apps.A]\n", &[], &["not an app name"]);
    refused(
        "",
        &[("SEANCE_HTTP__WORKERS", "many")],
        &["SEANCE_HTTP__WORKERS=many is not an integer"],
    );
}

#[test]
fn an_acme_section_of_no_use_is_refused() {
    for directory in ["http://ca.example/dir", "ca.example", "https://"] {
        let toml = format!("[acme]\ndirectory = \"{directory}\"\n");
        refused(&toml, &[], &["`acme.directory` is", directory]);
    }
    for contact in [
        "ops",
        "a@b.example,c@d.example",
        "mailto:ops@example.com",
        "@example.com",
    ] {
        let toml = format!("[acme]\ncontact = \"{contact}\"\n");
        refused(&toml, &[], &["`acme.contact` is", "one mail address"]);
    }
    let half = "belong together";
    refused("[acme]\neab_key_id = \"kid\"\n", &[], &[half]);
    refused("[acme]\neab_hmac_key_file = \"key\"\n", &[], &[half]);
    let secret = [("SEANCE_ACME__EAB_HMAC_KEY", "c2VjcmV0")];
    refused("", &secret, &[half]);
    refused("[acme]\nstorage = \"tape\"\n", &[], &["line 2", "disk"]);
    let bound = "[acme]\neab_key_id = \"kid\"\neab_hmac_key_file = \"gone\"\n";
    assert_eq!(check_config(bound, &[]).code, 0);
}

#[test]
fn a_wrong_override_names_its_variable_and_a_filter_its_fault_once() {
    for (variable, value) in [
        ("SEANCE_HTTP__LISTEN", "nope"),
        ("SEANCE_STORE__KIND", "floppy"),
        ("SPACES_PATH_PREFIX", "../up"),
    ] {
        refused("", &[(variable, value)], &[variable]);
    }
    let output = check_config("[log]\nfilter = \"a=b=c\"\n", &[]);
    assert_eq!(
        output.stderr.matches("a=b=c").count(),
        1,
        "{}",
        output.stderr
    );
}

#[test]
fn a_secret_in_a_wrong_place_is_not_printed() {
    for toml in [
        "[store.s3]\nsecret_access_key = 471100\n",
        "[store.s3]\nsecret_access_key = \"471100\n",
        "store.s3.access_key_id = 471100\n",
        "[store]\ns3 = { secret_access_key = 471100 }\n",
    ] {
        let output = check_config(toml, &[]);
        assert_eq!(output.code, 1, "accepted: {toml}");
        assert!(!output.stderr.contains("4711"), "{}", output.stderr);
        assert!(output.stderr.contains("config.toml:"), "{}", output.stderr);
    }
    refused(
        "[store.s3]\nsecret_access_key = \"4711\"\n",
        &[],
        &["config.toml:2:1", "is a secret", "secret_access_key_file"],
    );
}

#[test]
fn values_of_no_use_are_refused() {
    let bucket = "[store]\nkind = \"s3\"\n[store.s3]\nsecret_access_key_file = \"s\"\n";
    for (toml, wanted) in [
        (
            "[metrics]\nlisten = [\"127.0.0.1:9\", \"127.0.0.1:9\"]\n",
            "`metrics.listen` names 127.0.0.1:9 twice",
        ),
        (
            "[http]\ncors_origins = [\"https://\"]\n",
            "`http.cors_origins` is `https://`",
        ),
        (
            "[signaling]\nallowed_origins = [\"https://a.example/\"]\n",
            "`signaling.allowed_origins` is `https://a.example/`",
        ),
        (
            "[apps.default]\nhosts = [\"a.example:80\"]\n",
            "`a.example:80` is not a host name",
        ),
        (
            &format!("{bucket}bucket = \"\"\naccess_key_id_file = \"i\"\n"),
            "`store.s3.bucket` is empty",
        ),
        (
            &format!("{bucket}bucket = \"b\"\nregion = \"\"\naccess_key_id_file = \"i\"\n"),
            "`store.s3.region` is empty",
        ),
    ] {
        refused(toml, &[], &[wanted]);
    }
}

#[test]
fn hosts_whose_certificate_cannot_be_told_are_refused() {
    for (toml, wanted) in [
        ("[hosts.\"a b\"]\n", "is not a host name"),
        (
            "[hosts.\"A.example\"]\n[hosts.\"a.example\"]\n",
            "written in two ways",
        ),
        (
            "[hosts.\"*.example.com\"]\n",
            "a wildcard needs `certificate_file`",
        ),
        (
            "[hosts.\"a.example\"]\ncertificate_file = \"a.pem\"\n",
            "needed together",
        ),
        (
            "[hosts.\"a.example\"]\ntls = \"local\"\ncertificate_file = \"a.pem\"\nkey_file = \"a.key\"\n",
            "`tls` and `certificate_file` are both set",
        ),
        (
            "[https]\nlisten = []\n[hosts.\"a.example\"]\n",
            "`https.listen` is empty",
        ),
        (
            "[https]\nhandshake_timeout_seconds = 0\n",
            "https.handshake_timeout_seconds",
        ),
        ("[signaling]\nplain = false\n", "nobody could connect"),
    ] {
        refused(toml, &[], &[wanted]);
    }
}

#[test]
fn a_secret_of_the_environment_takes_the_place_of_the_files() {
    let file = "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\naccess_key_id_file = \"i\"\n\
                secret_access_key_file = \"s\"\n";
    let alias = [("SPACES_SECRET_ACCESS_KEY", "s")];
    let output = check_config(file, &alias);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let both = [
        ("SPACES_SECRET_ACCESS_KEY", "s"),
        ("SEANCE_STORE__S3__SECRET_ACCESS_KEY_FILE", "s"),
    ];
    refused(file, &both, &["are both set"]);
}

#[test]
fn apps_cannot_share_a_prefix_or_a_host() {
    refused(
        "[apps.one]\nprefix = \"p\"\n[apps.two]\nprefix = \"p\"\n",
        &[],
        &["`p` of the app `two`"],
    );
    for nested in ["p/below", "P"] {
        refused(
            &format!("[apps.one]\nprefix = \"p\"\n[apps.two]\nprefix = \"{nested}\"\n"),
            &[],
            &["of the app `two` is, lies below, or holds that of `one`"],
        );
    }
    refused(
        "[apps.one]\nhosts = [\"a.example\"]\n[apps.two]\nhosts = [\"A.example\"]\n",
        &[],
        &["`a.example` belongs to two apps"],
    );
}

#[test]
fn a_bucket_without_credentials_is_an_error_that_names_the_variable() {
    refused(
        "",
        &[("SPACES_BUCKET", "b")],
        &["SPACES_ACCESS_KEY_ID is required"],
    );
    let key = [("SPACES_BUCKET", "b"), ("SPACES_ACCESS_KEY_ID", "k")];
    refused("", &key, &["SPACES_SECRET_ACCESS_KEY is required"]);
    let no_bucket = [
        ("SPACES_ACCESS_KEY_ID", "k"),
        ("SPACES_SECRET_ACCESS_KEY", "s"),
    ];
    refused("", &no_bucket, &["SPACES_BUCKET is required"]);
    let all = [
        ("SPACES_BUCKET", "b"),
        ("SPACES_ACCESS_KEY_ID", "k"),
        ("SPACES_SECRET_ACCESS_KEY", "s"),
    ];
    assert_eq!(check_config("", &all).code, 0);
}

#[test]
fn a_secret_need_not_exist_for_the_check_and_is_given_once() {
    let file =
        "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\naccess_key_id_file = \"nowhere\"\n";
    assert_eq!(
        check_config(&format!("{file}secret_access_key_file = \"gone\"\n"), &[]).code,
        0
    );
    let twice = [
        ("SEANCE_STORE__S3__SECRET_ACCESS_KEY", "x"),
        ("SEANCE_STORE__S3__SECRET_ACCESS_KEY_FILE", "gone"),
    ];
    refused(
        file,
        &twice,
        &["`store.s3.secret_access_key` and `store.s3.secret_access_key_file` are both set"],
    );
}

#[test]
fn the_environment_overrides_the_file_and_the_aliases_override_both() {
    let daemon = Builder::new()
        .config("[http]\nlisten = [\"127.0.0.2:0\"]\n")
        .env_remove("SEANCE_HTTP__LISTEN");
    assert_eq!(daemon.start().http.ip().to_string(), "127.0.0.2");
    let daemon = Builder::new()
        .config("[http]\nlisten = [\"127.0.0.2:0\"]\n")
        .start();
    assert_eq!(daemon.http.ip().to_string(), "127.0.0.1");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its address").port();
    drop(free);
    let daemon = Builder::new().env("PORT", &port.to_string()).start();
    assert_eq!(daemon.http.port(), port);
}

#[test]
fn the_reference_is_checked_in_and_changes_nothing() {
    let printed = seance(&["config-reference"], &[]).stdout;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/reference.toml");
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        printed == kept,
        "regenerate with: cargo run -- config-reference > tests/fixtures/config/reference.toml"
    );
    let uncommented: String = printed
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(option) if is_option(option) || option.starts_with('[') => {
                Some(format!("{option}\n"))
            }
            Some(_) => None,
            None => Some(format!("{line}\n")),
        })
        .collect();
    let output = check_config(&uncommented, &[]);
    assert_eq!(output.code, 0, "{}\n{uncommented}", output.stderr);
}

/// `name = value` with a value, as opposed to prose.
fn is_option(line: &str) -> bool {
    let Some((name, value)) = line.split_once(" = ") else {
        return false;
    };
    !value.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[test]
fn every_sample_configuration_is_right() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let mut checked = 0;
    for entry in std::fs::read_dir(samples).expect("the samples") {
        let file = entry.expect("a sample").path();
        let output = seance(&["check-config", path(&file)], &[]);
        assert_eq!(output.code, 0, "{}: {}", file.display(), output.stderr);
        checked += 1;
    }
    assert!(checked >= 2, "{checked}");
}

#[test]
fn the_result_is_json_on_request() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("c.toml");
    std::fs::write(&file, "[http]\nx = 1\n").expect("a file");
    let output = seance(&["check-config", "--json", path(&file)], &[]);
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!((answer["ok"].as_bool(), output.code), (Some(false), 1));
}

#[test]
fn quietly_only_what_is_wrong_is_printed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("c.toml");
    std::fs::write(&file, "").expect("a file");
    let output = seance(&["check-config", "--quiet", path(&file)], &[]);
    assert_eq!(
        (output.code, output.stdout + &output.stderr),
        (0, String::new())
    );
    std::fs::write(&file, "[http]\nx = 1\n").expect("a file");
    let output = seance(&["check-config", "--quiet", path(&file)], &[]);
    assert!(
        output.code == 1 && output.stderr.contains("http.x"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_key_and_its_hash_belong_together() {
    let made: serde_json::Value =
        serde_json::from_str(&seance(&["key", "new", "--json"], &[]).stdout).expect("JSON");
    let hash = made["hash"].as_str().expect("a hash");
    assert_eq!(
        check_config(
            &format!("[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n"),
            &[]
        )
        .code,
        0
    );
    assert_eq!(hash.len(), 64);
}
