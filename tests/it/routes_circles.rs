//! Redirects and upstreams that lead back are refused, those that lead on are not.

use crate::harness::command::check_config;

/// `a.test` with these routes, after what else there is; each is the path, the location and what else a redirect has.
fn redirects(before: &str, routes: &[(&str, &str)]) -> String {
    let mut config = format!("{before}[hosts.\"a.test\"]\n");
    for (path, to) in routes {
        config += &format!("[[hosts.\"a.test\".routes]]\npath = \"{path}\"\n{to}\n");
    }
    config
}

fn to(location: &str, more: &str) -> String {
    format!("to = {{ redirect = {{ location = \"{location}\"{more} }} }}")
}

const KEEP: &str = ", keep_path = true";
const PLAIN: &str = "[hosts.\"b.test\"]\ntls = \"off\"\n";

#[test]
fn redirects_that_never_end_are_refused() {
    let refused = |config: &str, line: usize| {
        let output = check_config(config, &[]);
        assert_eq!(output.code, 1, "{config}");
        for part in [
            &format!("config.toml:{line}: "),
            "is redirected for ever",
            "`location`",
        ] {
            assert!(output.stderr.contains(part), "{config}: {}", output.stderr);
        }
    };
    let below = to("/a/b", "");
    refused(&redirects("", &[("/a", &below)]), 2);
    refused(&redirects("", &[("/", &to("/app/", ""))]), 2);
    refused(&redirects("", &[("/", &to("/app", KEEP)), ("/b", "")]), 2);
    let (there, back) = (to("/b", ""), to("/a", ""));
    refused(&redirects("", &[("/a", &there), ("/b", &back)]), 2);
    // Another scheme, and the same one.
    refused(&redirects("", &[("/", &to("http://a.test/", ""))]), 2);
    let own = to("https://A.test:443/x?y", "");
    refused(&redirects("", &[("/", &own)]), 2);
    let plain = format!("{PLAIN}[[hosts.\"b.test\".routes]]\n");
    refused(&format!("{plain}{}\n", to("http://b.test/", "")), 3);
    let listen = "[http]\nlisten = [\"127.0.0.1:8080\"]\n";
    let port = to("http://b.test:8080/", "");
    refused(&format!("{listen}{plain}{port}\n"), 5);
    let proxy = "[http]\nbehind_proxy = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    let secure = to("https://b.test", KEEP);
    refused(&format!("{proxy}{plain}{secure}\n"), 6);
    // Between two hosts, and only below a path.
    let other = format!(
        "[hosts.\"b.test\"]\n[[hosts.\"b.test\".routes]]\n{}\n",
        to("https://a.test", KEEP)
    );
    let first = to("https://b.test", KEEP);
    refused(&redirects(&other, &[("/", &first)]), 5);
    let own_page = "to = { respond = {} }";
    refused(
        &redirects(
            "",
            &[
                ("/a", &to("/b", KEEP)),
                ("/b", &to("/a", KEEP)),
                ("/b/c", own_page),
            ],
        ),
        2,
    );
    let wild = "[hosts.\"*.b.test\"]\ntls = \"off\"\n[[hosts.\"*.b.test\".routes]]\n";
    refused(&format!("{wild}{}\n", to("http://x.b.test/", "")), 3);
}

#[test]
fn redirects_that_end_are_not_refused() {
    let right = |config: &str| {
        let output = check_config(config, &[]);
        assert_eq!(output.code, 0, "{config}: {}", output.stderr);
    };
    right(&redirects("", &[("/", &to("/app/", "")), ("/app", "")]));
    right(&redirects("", &[("/a", &to("/a/b", "")), ("/a/b", "")]));
    right(&redirects(
        "",
        &[("/a", &to("/b", "")), ("/b", &to("/c", "")), ("/c", "")],
    ));
    // What lies below is a segment shorter each time.
    right(&redirects("", &[("/a", &to("/", KEEP)), ("/", "")]));
    right(&redirects("", &[("/", &to("/app", KEEP)), ("/app", "")]));
    right(&redirects(
        "",
        &[("/", &to("http://a.test/b", "")), ("/b", "")],
    ));
    right(&redirects("", &[("/", &to("https://a.test:8443/", ""))]));
    right(&redirects("", &[("/", &to("https://b.test", KEEP))]));
    // Somebody else has the other scheme.
    let secure = to("https://b.test", KEEP);
    right(&format!("{PLAIN}[[hosts.\"b.test\".routes]]\n{secure}\n"));
}

#[test]
fn an_upstream_that_is_seance_itself_is_refused() {
    let config = |listen: &str, upstream: &str| {
        let to =
            format!("to = {{ proxy = {{ upstreams = [\"http://10.0.0.1\", \"{upstream}\"] }} }}");
        let before = format!("[http]\nlisten = [\"{listen}\"]\n");
        redirects(&before, &[("/a", &to)])
    };
    for (listen, upstream) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://localhost:8080"),
        ("[::]:8080", "h2c://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("127.0.0.1:8080", "https://127.0.0.1"),
        ("192.0.2.1:80", "http://192.0.2.1"),
    ] {
        let output = check_config(&config(listen, upstream), &[]);
        assert_eq!(output.code, 1, "{listen} {upstream}");
        for part in [
            "config.toml:4: ",
            "`/a` of `a.test`",
            "`proxy.upstreams` names",
            "itself",
        ] {
            assert!(
                output.stderr.contains(part),
                "{upstream}: {}",
                output.stderr
            );
        }
    }
    for (listen, upstream) in [
        ("127.0.0.1:8080", "http://127.0.0.1:9464"),
        ("192.0.2.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://[::1]:8080"),
        ("0.0.0.0:8080", "http://10.0.0.2:8080"),
        // Inside, the name may lead to another machine.
        ("0.0.0.0:8080", "https://a.test"),
    ] {
        let output = check_config(&config(listen, upstream), &[]);
        assert_eq!(output.code, 0, "{listen} {upstream}: {}", output.stderr);
    }
}
