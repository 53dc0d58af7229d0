//! Deploys side by side, content that is known already, and a disk without room.

use std::path::Path;

use crate::harness::command::path;
use crate::harness::release::{
    Files, StoreDirectory, assert_same, deploy, files, onto, product, served,
};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

/// Each deploy by a thread of its own; all have to succeed.
fn at_once(daemon: &Daemon, deploys: &[Files]) {
    let (address, key) = (daemon.http, daemon.builder_key());
    std::thread::scope(|scope| {
        for files in deploys {
            scope.spawn(|| {
                let answer = deploy(address, &key, files);
                assert_eq!(answer.status, 200, "{}", answer.text());
            });
        }
    });
}

#[test]
fn twenty_deploys_of_different_files_at_once_all_succeed() {
    let daemon = Builder::new().start();
    let one = |n: usize| {
        let large = vec![u8::try_from(n).expect("a byte"); 400_000];
        files(&[
            (
                format!("test/file{n}.txt").as_str(),
                format!("Test {n}\n").as_bytes(),
            ),
            (format!("releases/Seance-1.0.{n}.zip").as_str(), &large),
        ])
    };
    let deploys: Vec<Files> = (0..20).map(one).collect();
    at_once(&daemon, &deploys);
    let all = deploys
        .iter()
        .fold(Files::new(), |all, deploy| onto(&all, deploy));
    let store = StoreDirectory::of(daemon.home());
    assert_same("the files of the log", &store.truth(), &all);
    assert_eq!(store.names(".seance/log").len(), 20);
    for (path, content) in &all {
        assert!(
            served(daemon.http, path).as_ref() == Some(content),
            "{path}"
        );
    }
    store.projected(20);
    assert_same("the public copies", &store.public(), &all);
}

#[test]
fn deploys_of_one_product_at_once_leave_one_of_them_whole() {
    let daemon = Builder::new().start();
    let deploys: Vec<Files> = (0..8)
        .map(|n| product(&format!("1.{n}.0"), 3000, 5))
        .collect();
    at_once(&daemon, &deploys);
    let store = StoreDirectory::of(daemon.home());
    store.projected(8);
    let published = store.truth();
    assert_same("the public copies", &store.public(), &published);
    let web = |files: &Files| -> Files {
        files
            .clone()
            .into_iter()
            .filter(|(path, _)| path.starts_with("web/"))
            .collect()
    };
    let wholes = deploys
        .iter()
        .filter(|deploy| web(deploy) == web(&published))
        .count();
    assert_eq!(wholes, 1, "{:?}", published.keys());
}

#[test]
fn known_content_is_stored_once() {
    let daemon = Builder::new().start();
    let key = daemon.builder_key();
    let first = files(&[
        ("a/1.txt", b"same"),
        ("a/2.txt", b"same"),
        ("a/3.txt", b"other"),
    ]);
    assert_eq!(deploy(daemon.http, &key, &first).status, 200);
    let again = files(&[("b/1.txt", b"same"), ("a/3.txt", b"other")]);
    assert_eq!(deploy(daemon.http, &key, &again).status, 200);
    let store = StoreDirectory::of(daemon.home());
    let contents = || -> usize {
        let deploys = store.names(".seance/content");
        deploys
            .iter()
            .map(|id| store.names(&format!(".seance/content/{id}")).len())
            .sum()
    };
    wait_until("only two contents are left", contents, |count| *count == 2);
    assert_same(
        "the files of the log",
        &store.truth(),
        &onto(&first, &again),
    );
}

/// A daemon whose store is a file system of its own with little room.
fn with_room(home: &Path, megabytes: usize) -> Daemon {
    std::fs::create_dir_all(home.join("state/store")).expect("a store");
    let mount = format!("mount -t tmpfs -o size={megabytes}m none \"$0\" && exec \"$@\"");
    let store = home.join("state/store");
    Builder::at(home)
        .under(&["unshare", "-m", "sh", "-c", &mount, path(&store)])
        .start()
}

#[test]
#[ignore = "needs root and mount namespaces: tests/run"]
fn a_deploy_without_room_is_refused_and_leaves_nothing() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let daemon = with_room(home.path(), 4);
    let key = daemon.builder_key();
    let small = files(&[("releases/latest.yml", b"version: 1.0.0\n")]);
    assert_eq!(deploy(daemon.http, &key, &small).status, 200);
    // Only the daemon sees its mount.
    let inside = format!("/proc/{}/root{}", daemon.child.id(), home.path().display());
    let store = StoreDirectory::of(Path::new(&inside));
    store.projected(1);

    let mut streamed = files(&[
        ("releases/Seance-2.0.0.zip", &vec![7; 6_000_000]),
        ("releases/latest.yml", b"version: 2.0.0\n"),
    ]);
    let many = |n: usize| {
        (
            format!("web/{n}.js"),
            vec![u8::try_from(n % 250).expect("a byte"); 200_000 + n],
        )
    };
    let whole: Files = (0..40).map(many).collect();
    for too_large in [&streamed, &whole] {
        let answer = deploy(daemon.http, &key, too_large);
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert_eq!(answer.json()["message"], "Storage full");
        assert_same("the files of the log", &store.truth(), &small);
        wait_until(
            "what was staged is gone",
            || store.names(".seance/content").len(),
            |count| *count <= 1,
        );
        wait_until(
            "no temporary file is left",
            || store.names(".seance/tmp"),
            Vec::is_empty,
        );
    }
    // Room again, in effect.
    streamed.insert("releases/Seance-2.0.0.zip".to_owned(), vec![7; 1_000_000]);
    assert_eq!(deploy(daemon.http, &key, &streamed).status, 200);
    assert_same(
        "the files of the log",
        &store.truth(),
        &onto(&small, &streamed),
    );
}
