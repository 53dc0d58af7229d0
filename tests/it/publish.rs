//! `seance publish` and the action for GitHub do the same thing: a build goes from its directory into a draft, and is
//! published whole.

use std::fs;
use std::path::Path;

use crate::harness::command::path;
use crate::harness::http::request;
use crate::harness::publish::{
    Client, KEY, action, assert_served, channel, done, drafts, mac_build, outcome, write,
};
use crate::harness::release::{Files, served};

#[track_caller]
fn publishes_and_says_so(client: Client) {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let dist = home.path().join("dist");
    let files = mac_build(&dist, "1.0.0", 200_000);
    let web = home.path().join("web");
    write(
        &web,
        &[("index.html", b"<p>1".to_vec()), ("a/empty.js", Vec::new())],
    );
    let notes = home.path().join("notes.md");
    fs::write(&notes, "# New\n\n- \"all\" of it\n").expect("a file");
    let arguments = [
        path(&dist),
        "--to",
        &daemon.url(""),
        "--web",
        path(&web),
        "--notes",
        path(&notes),
    ];
    let outcome = client.run(home.path(), &arguments);
    let json = done(&outcome);
    assert_eq!(
        (&json["published"], &json["record"]),
        (&true.into(), &1.into())
    );
    assert_eq!(
        (&json["files"], &json["sent"]["files"]),
        (&5.into(), &5.into())
    );
    assert_eq!(json["sent"]["bytes"], json["bytes"]);
    assert_eq!(json["skipped"][0], "builder-debug.yml");
    let mut wanted = files;
    let manifest = wanted
        .remove("releases/darwin-arm64/latest-mac.yml")
        .expect("a manifest");
    wanted.insert("web/index.html".to_owned(), b"<p>1".to_vec());
    wanted.insert("web/a/empty.js".to_owned(), Vec::new());
    assert_served(&daemon, &wanted);
    let published = served(daemon.http, "releases/darwin-arm64/latest-mac.yml").expect("it");
    let published = String::from_utf8(published).expect("UTF-8");
    let (before, told) = published.split_once("releaseNotes: ").expect("notes");
    assert_eq!(before.as_bytes(), manifest);
    assert_eq!(told.trim_end(), r##""# New\n\n- \"all\" of it""##);
    assert!(
        !home
            .path()
            .join(".local/state/seance/publish")
            .read_dir()
            .is_ok_and(|mut left| left.next().is_some()),
        "a published draft is still remembered"
    );
}

#[test]
fn a_build_and_a_site_are_published_with_release_notes() {
    publishes_and_says_so(Client::Binary);
}

#[test]
#[ignore = "needs node: tests/run"]
fn the_action_publishes_a_build_and_a_site_with_release_notes() {
    publishes_and_says_so(Client::Node);
}

#[test]
fn exit_codes_tell_what_failed() {
    exit_codes(Client::Binary);
}

#[test]
#[ignore = "needs node: tests/run"]
fn the_exit_codes_of_the_action_are_the_same() {
    exit_codes(Client::Node);
}

#[track_caller]
fn exit_codes(client: Client) {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let dist = home.path().join("dist");
    mac_build(&dist, "1.0.0", 1000);
    let (dist, url) = (path(&dist).to_owned(), daemon.url(""));
    let empty = home.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let key = home.path().join("key");
    fs::write(&key, "wrong\n").expect("a file");
    let unknown = "01936f2b-0000-7000-8000-000000000000";
    // Nobody listens where somebody did a moment ago.
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("its address"))
    };
    for (code, arguments) in [
        (2, vec!["--to", &url]),
        (2, vec![path(&empty), "--to", &url]),
        (2, vec![&dist]),
        (2, vec![&dist, "--to", &url, "--platform", "a/b"]),
        (2, vec![&dist, "--to", &url, "--parallel", "99"]),
        (4, vec![&dist, "--to", &gone, "--tries", "2"]),
        (5, vec![&dist, "--to", &url, "--key-file", path(&key)]),
        (1, vec![&dist, "--to", &url, "--draft", unknown]),
    ] {
        let outcome = client.run(home.path(), &arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty());
    }
    fs::write(Path::new(&dist).join("Notes-1.0.0-arm64-mac.zip"), "cut").expect("a file");
    let refused = client.run(home.path(), &[&dist, "--to", &url]);
    assert_eq!(refused.code, 3, "{} {}", refused.json, refused.stderr);
    assert!(
        refused.json["reasons"].to_string().contains("wrong sha512"),
        "{}",
        refused.json
    );
    assert_eq!(
        served(daemon.http, "releases/darwin-arm64/latest-mac.yml"),
        None
    );
    let forced = client.run(home.path(), &[&dist, "--to", &url, "--force"]);
    assert_eq!(done(&forced)["published"], true);
}

#[test]
fn three_jobs_fill_one_draft_and_a_fourth_publishes_it() {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let url = daemon.url("");
    let opened = Client::Binary.run(home.path(), &["--open", "--to", &url]);
    let draft = done(&opened)["draft"].as_str().expect("an id").to_owned();
    let mut wanted = Files::new();
    let mut jobs = Vec::new();
    for (platform, name, extra) in [
        ("darwin-arm64", "latest-mac.yml", "N-1.0.0-arm64-mac.zip"),
        ("win32-x64", "latest.yml", "N-1.0.0-setup.exe"),
        ("linux-x64", "latest-linux.yml", "N-1.0.0.AppImage"),
    ] {
        let content = platform.repeat(10_000).into_bytes();
        let manifest =
            channel("1.0.0", extra, &content).replace("    size", "    blockMapSize: 9\n    size");
        let blockmap = format!("{extra}.blockmap");
        let files = [
            (name, manifest.into_bytes()),
            (extra, content),
            (blockmap.as_str(), b"map".to_vec()),
        ];
        let directory = home.path().join(platform);
        write(&directory, &files);
        wanted
            .extend(files.map(|(name, content)| (format!("releases/{platform}/{name}"), content)));
        let arguments = [
            path(&directory),
            "--to",
            &url,
            "--draft",
            &draft,
            "--job",
            platform,
        ];
        jobs.push(Client::Binary.start(home.path(), &arguments));
    }
    for job in jobs {
        assert_eq!(done(&outcome(job))["published"], false);
    }
    assert_eq!(
        served(daemon.http, "releases/linux-x64/latest-linux.yml"),
        None
    );
    let finish = ["--draft", &draft, "--finish", "--to", &url];
    let published = Client::Binary.run(home.path(), &finish);
    assert_eq!(done(&published)["record"], 1);
    assert_served(&daemon, &wanted);
    let again = Client::Binary.run(home.path(), &finish);
    assert_eq!(done(&again)["record"], 1);
}

#[test]
fn a_draft_that_lacks_a_file_is_not_published() {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let url = daemon.url("");
    let opened = Client::Binary.run(home.path(), &["--open", "--to", &url]);
    let draft = done(&opened)["draft"].as_str().expect("an id").to_owned();
    let body = serde_json::json!({ "job": "other", "files": [
        { "path": "releases/linux-x64/N-1.0.0.AppImage", "size": 9, "sha256": "00".repeat(32) }] });
    let headers = [("X-Builder-Key", KEY), ("Content-Type", "application/json")];
    let declare = format!("/api/drafts/{draft}/files");
    let body = body.to_string();
    let declared = request(daemon.http, "PUT", &declare, &headers, body.as_bytes());
    assert_eq!(declared.status, 200, "{declared:?}");
    let unfinished =
        Client::Binary.run(home.path(), &["--draft", &draft, "--finish", "--to", &url]);
    assert_eq!(unfinished.code, 1, "{}", unfinished.stderr);
    assert_eq!(
        unfinished.json["reasons"][0],
        "releases/linux-x64/N-1.0.0.AppImage"
    );
}

#[test]
#[ignore = "needs node: tests/run"]
fn as_an_action_of_github_it_takes_inputs_and_gives_outputs() {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let dist = home.path().join("dist");
    let files = mac_build(&dist, "1.0.0", 1000);
    let output = home.path().join("output");
    fs::write(&output, "").expect("a file");
    // GitHub sets an input that is not given to nothing, or to its default.
    let run = |inputs: &[(&str, &str)]| {
        let mut command = Client::Node.command(home.path());
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", &output);
        for name in inputs_of_the_action() {
            command.env(format!("INPUT_{}", name.to_uppercase()), "");
        }
        let url = daemon.url("");
        let common = [
            ("to", url.as_str()),
            ("key", KEY),
            ("parallel", "4"),
            ("tries", "1"),
        ];
        for (name, value) in common.iter().chain(inputs) {
            command.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        let ended = command.output().expect("the action runs");
        let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(
            ended.status.success(),
            "{printed}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        assert!(printed.contains(&format!("::add-mask::{KEY}")), "{printed}");
        let told = fs::read_to_string(&output).expect("outputs");
        fs::write(&output, "").expect("a file");
        told
    };
    let opened = run(&[("open", "true")]);
    let draft = opened
        .trim()
        .strip_prefix("draft=")
        .expect("an id")
        .to_owned();
    let filled = run(&[("directory", path(&dist)), ("draft", &draft)]);
    let bytes: usize = files.values().map(Vec::len).sum();
    assert_eq!(filled, format!("draft={draft}\nsent-bytes={bytes}\n"));
    let published = run(&[("draft", &draft), ("finish", "true")]);
    assert_eq!(published, format!("draft={draft}\nrecord=1\n"));
    assert_served(&daemon, &files);
}

/// The names that `action.yml` promises; each has to be an option of the program.
fn inputs_of_the_action() -> Vec<String> {
    let text = |name| fs::read_to_string(action().join(name)).expect("a file of the action");
    let (manifest, program) = (text("action.yml"), text("publish.mjs"));
    let (_, inputs) = manifest.split_once("\ninputs:\n").expect("inputs");
    let (inputs, _) = inputs.split_once("\noutputs:\n").expect("outputs");
    let name = |line: &str| {
        let name = line.strip_prefix("  ")?.strip_suffix(':')?;
        (!name.starts_with(' ')).then(|| name.to_owned())
    };
    let names: Vec<String> = inputs.lines().filter_map(name).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        let known = [format!("\"{name}\""), format!("input(\"{name}\")")];
        assert!(known.iter().any(|known| program.contains(known)), "{name}");
    }
    names
}
