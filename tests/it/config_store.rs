//! A configured bucket is the store or an error, never the disk; and the values that name it.

use crate::harness::Builder;
use crate::harness::command::check_config;
use crate::harness::http::get;
use crate::harness::release::{deploy, files};

#[track_caller]
fn refused(toml: &str, environment: &[(&str, &str)], wanted: &str) {
    let output = check_config(toml, environment);
    assert_eq!(output.code, 1, "accepted: {toml} {environment:?}");
    assert!(
        output.stderr.contains(wanted),
        "no {wanted:?} in:\n{}",
        output.stderr
    );
}

#[track_caller]
fn right(toml: &str, environment: &[(&str, &str)]) {
    let output = check_config(toml, environment);
    assert_eq!(output.code, 0, "{toml} {environment:?}: {}", output.stderr);
}

#[test]
fn a_bucket_in_the_file_without_its_kind_does_not_become_the_disk() {
    let said = "[store]\nkind = \"filesystem\"\n";
    for option in [
        "bucket = \"b\"",
        "endpoint = \"https://s3.example\"",
        "access_key_id_file = \"i\"",
        "secret_access_key_file = \"s\"",
    ] {
        let key = option.split(' ').next().unwrap_or_default();
        let wanted = format!("`store.s3.{key}` is set, but `store.kind` is `filesystem`");
        for kind in ["", said] {
            refused(&format!("{kind}[store.s3]\n{option}\n"), &[], &wanted);
        }
    }
    let variable = [("SEANCE_STORE__S3__BUCKET", "b")];
    refused("", &variable, "`store.s3.bucket` is set");
    right(
        "[store]\nkind = \"filesystem\"\n[store.s3]\nregion = \"sfo3\"\n",
        &[],
    );
}

#[test]
fn any_variable_of_a_bucket_means_one_and_an_empty_one_too() {
    for variable in [
        "SPACES_ACCESS_KEY_ID",
        "SPACES_SECRET_ACCESS_KEY",
        "SPACES_REGION",
        "SPACES_ENDPOINT",
        "SPACES_CDN_ENDPOINT",
    ] {
        let value = [(variable, "https://a.example")];
        refused("", &value, "SPACES_BUCKET is required");
    }
    refused("", &[("SPACES_REGION", "")], "SPACES_BUCKET is required");
    let file = "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\naccess_key_id_file = \"i\"\n\
                secret_access_key_file = \"s\"\n";
    right(file, &[]);
    for toml in ["", file] {
        let nothing = [("SPACES_BUCKET", "")];
        refused(toml, &nothing, "SPACES_BUCKET= is not the name of a bucket");
    }
    // Nothing of these is about where files are kept.
    right(
        "[apps.default]\ncdn_endpoint = \"https://cdn.example\"\n",
        &[("SPACES_CDN_ENDPOINT", ""), ("SPACES_PATH_PREFIX", "dev")],
    );
}

#[test]
fn a_missing_bucket_is_not_looked_for_in_a_file() {
    let output = check_config("[store]\nkind = \"s3\"\n", &[]);
    let text = output.stderr;
    assert!(
        text.contains("SPACES_BUCKET is required (or `store.s3.bucket`)"),
        "{text}"
    );
    assert!(!text.contains("bucket_file"), "{text}");
}

#[test]
fn an_endpoint_with_a_query_and_a_number_beyond_all_are_refused_by_name() {
    for end in ["/?x", "/#y", "?x"] {
        let endpoint = format!("https://cdn.example{end}");
        let toml = format!("[apps.default]\ncdn_endpoint = \"{endpoint}\"\n");
        let wanted = format!("`apps.default.cdn_endpoint` is `{endpoint}`");
        refused(&toml, &[], &wanted);
    }
    for number in ["18446744073709551615", "0xffffffffffffffff"] {
        let toml = format!("[http]\nworkers = 1\ndrain_seconds = {number}\n");
        let wanted = "config.toml:3:17: the number at `http.drain_seconds` is too large";
        refused(&toml, &[], wanted);
    }
    let most = format!("[http]\ndrain_seconds = {}\n", i64::MAX);
    refused(&most, &[], "between 0 and 3600");
}

#[test]
fn a_prefix_is_free_text_as_far_as_it_is_a_path() {
    for prefix in ["/prod/", "feature#1", "fix+x", "team/näch ste?"] {
        right("", &[("SPACES_PATH_PREFIX", prefix)]);
    }
    for prefix in ["updates", "/updates/", "api/x"] {
        let prefix = [("SPACES_PATH_PREFIX", prefix)];
        refused("", &prefix, "begins like a route of seance");
    }
    for prefix in ["/", "a//b", "a/../b", ".seance", "a\\b", "a\nb"] {
        let prefix = [("SPACES_PATH_PREFIX", prefix)];
        refused("", &prefix, "is not a store prefix");
    }
}

#[test]
fn what_lies_under_a_prefix_of_any_text_is_served_where_the_answer_says() {
    let daemon = Builder::new()
        .env("SPACES_PATH_PREFIX", "/feature#1/näch ste?+x/")
        .start();
    let file = files(&[("releases/n.txt", b"here")]);
    let answer = deploy(daemon.http, &daemon.builder_key(), &file);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let url = answer["files"][0]["url"].as_str().expect("an address");
    assert_eq!(url, "/feature%231/n%C3%A4ch%20ste%3F%2Bx/releases/n.txt");
    assert_eq!(get(daemon.http, url).body, b"here");
    assert_eq!(get(daemon.http, "/updates/n.txt").body, b"here");
}
