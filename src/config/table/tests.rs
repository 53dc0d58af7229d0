use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::{HostName, Table};
use crate::config::hosts::{Host, Hosts};
use crate::config::request_path::RequestPath;
use crate::config::routes::Route;

fn table(hosts: &[(String, Vec<String>)]) -> Table {
    let hosts: Hosts = hosts
        .iter()
        .map(|(name, paths)| {
            let routes = paths.iter().map(|path| Route {
                path: path.clone(),
                ..Route::default()
            });
            let host = Host {
                routes: routes.collect(),
                ..Host::default()
            };
            (name.clone(), host)
        })
        .collect();
    Table::compile(&hosts, &HashMap::new()).expect("a table")
}

/// What the documentation says, one rule after the other.
fn naive(
    hosts: &BTreeMap<String, Vec<String>>,
    name: &str,
    path: &str,
) -> Option<(String, String)> {
    let (host, paths) = hosts.get_key_value(name).or_else(|| {
        let (_, parent) = name.split_once('.')?;
        hosts.get_key_value(&format!("*.{parent}"))
    })?;
    let holds = |prefix: &&String| {
        let prefix = prefix.trim_end_matches('/');
        path == prefix || path.starts_with(&format!("{prefix}/"))
    };
    let longest = paths
        .iter()
        .filter(holds)
        .max_by_key(|path| path.trim_end_matches('/').len())?;
    Some((host.clone(), longest.trim_end_matches('/').to_owned()))
}

fn host() -> impl Strategy<Value = String> {
    "(a|b|\\*)(\\.(a|b)){0,2}\\.test"
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("(/(a|b|ab)){1,3}", 1..6).prop_flat_map(|paths| {
        let mut paths: Vec<String> = paths.into_iter().collect();
        prop_oneof![Just(paths.clone()), {
            paths.push("/".to_owned());
            Just(paths)
        }]
    })
}

proptest! {
    #[test]
    fn the_table_answers_as_its_description_says(
        hosts in proptest::collection::btree_map(host(), paths(), 0..6),
        name in "(a|b|c)(\\.(a|b)){0,3}\\.test",
        path in "(/(a|b|ab|abc)){1,4}/?",
    ) {
        let compiled = table(&hosts.clone().into_iter().collect::<Vec<_>>());
        let parsed = HostName::parse(&name).expect("a name");
        let plain = RequestPath::parse(&path).expect("a path");
        let found = compiled.host(&parsed).map(|host| &compiled.hosts()[host]);
        let found = found.and_then(|host| {
            let route = host.route(plain.plain())?;
            Some((host.name.clone(), host.routes[route].prefix.clone()))
        });
        prop_assert_eq!(found, naive(&hosts, &name, &path));
    }

    #[test]
    fn no_spelling_of_a_path_finds_another_route(path in "(/(a|b|ab)){1,4}", seed in any::<u64>()) {
        let compiled = table(&[("h.test".to_owned(), vec!["/a".to_owned(), "/a/b".to_owned(), "/".to_owned()])]);
        let routes = &compiled.hosts()[0];
        let spelled: String = path
            .bytes()
            .enumerate()
            .map(|(at, byte)| match (byte, seed >> (at * 2 % 64) & 3) {
                (b'/', 1) if at > 0 => "//".to_owned(),
                (b'/', _) if at == 0 => "/".to_owned(),
                (_, 2) => format!("%{byte:02x}"),
                (_, 3) => format!("%{byte:02X}"),
                _ => char::from(byte).to_string(),
            })
            .collect();
        let plain = RequestPath::parse(&spelled).expect("a path");
        prop_assert_eq!(plain.plain(), path.as_bytes());
        prop_assert_eq!(routes.route(plain.plain()), routes.route(path.as_bytes()));
        let index = routes.route(plain.plain()).expect("the last route holds everything");
        let length = routes.routes[index].prefix.len();
        let below = format!("/{}", plain.below(length));
        let below = RequestPath::parse(&below).expect("a path");
        let wanted = format!("/{}", &path[length..]).replace("//", "/");
        prop_assert_eq!(below.plain(), wanted.as_bytes());
    }

    #[test]
    fn any_text_is_a_path_or_none(text in "\\PC{0,40}", length in 0usize..50) {
        if let Some(path) = RequestPath::parse(&text) {
            prop_assert!(text.ends_with(path.below(length)));
        }
    }
}

#[test]
fn dots_in_any_spelling_are_no_path() {
    for path in [
        "/a/../b",
        "/a/..",
        "/./a",
        "/%2e%2e/a",
        "/a/.%2E",
        "/a%2f..%2fb",
        "/a\\..\\b",
        "/a/..;x/b",
        "/a/%5c..",
        "/%00",
        "/%",
        "/%a",
        "/%zz",
        "",
        "a",
        "*",
    ] {
        assert!(RequestPath::parse(path).is_none(), "{path}");
    }
    for path in ["/", "/.well-known/x", "/a..b", "/...", "/a/b.", "/%41"] {
        assert!(RequestPath::parse(path).is_some(), "{path}");
    }
}

#[test]
fn a_host_is_read_without_port_case_and_final_dot() {
    for (authority, name) in [
        ("Example.COM", Some("example.com")),
        ("example.com:443", Some("example.com")),
        ("example.com.:80", Some("example.com")),
        ("[::1]:80", Some("[::1]")),
        ("127.0.0.1:3000", Some("127.0.0.1")),
        ("example.com:", Some("example.com")),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a b", None),
        ("user@example.com", None),
        ("example.com:70000", None),
        ("example.com:+80", None),
        ("example.com:80:80", None),
        ("[::1", None),
        ("[example]", None),
        ("a/b", None),
        ("a,b", None),
    ] {
        let parsed = HostName::parse(authority);
        assert_eq!(parsed.as_ref().map(HostName::as_str), name, "{authority}");
    }
}
