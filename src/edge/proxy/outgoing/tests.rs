use proptest::prelude::*;

use super::*;

fn given(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::try_from(*value).unwrap());
    }
    headers
}

fn sender(through: Option<&str>) -> Sender<'static> {
    Sender {
        address: "192.0.2.7".parse().unwrap(),
        through: through.map(|address| address.parse().unwrap()),
        tls: true,
        host: "app.example.com:8443",
    }
}

#[test]
fn a_client_cannot_speak_for_others() {
    let mut headers = given(&[
        ("x-forwarded-for", "203.0.113.1"),
        ("x_forwarded_for", "203.0.113.1"),
        ("x-forwarded-port", "22"),
        ("x-real-ip", "203.0.113.1"),
        ("forwarded", "for=203.0.113.1"),
        ("accept", "*/*"),
    ]);
    forwarded(&mut headers, &sender(None), true);
    let expected = given(&[
        ("accept", "*/*"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example.com:8443"),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn what_a_trusted_proxy_says_is_continued() {
    let mut headers = given(&[
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
    ]);
    forwarded(&mut headers, &sender(Some("10.0.0.1")), true);
    let expected = given(&[
        ("x-forwarded-for", "192.0.2.7, 10.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn a_client_cannot_speak_for_others_through_a_proxy_that_adds_fields_of_its_own() {
    let mut headers = given(&[
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-host", "a.example"),
    ]);
    forwarded(&mut headers, &sender(Some("10.0.0.1")), true);
    let expected = given(&[
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
    ]);
    assert_eq!(headers, expected);
    let mut taken_off = given(&[("x_real-ip", "6.6.6.6")]);
    forwarded(&mut taken_off, &sender(Some("10.0.0.1")), true);
    assert_eq!(taken_off["x-forwarded-for"], "192.0.2.7, 10.0.0.1");
    assert!(!taken_off.contains_key("x_real-ip"));
}

#[test]
fn nothing_is_told_when_it_is_switched_off() {
    let mut headers = given(&[("x-forwarded-for", "203.0.113.1")]);
    forwarded(&mut headers, &sender(None), false);
    assert!(headers.is_empty());
}

#[test]
fn an_upgrade_is_passed_on_unless_it_is_http_in_disguise() {
    let wanted = |upgrade: &'static str, connection: &'static str| {
        let headers = given(&[("upgrade", upgrade), ("connection", connection)]);
        wanted_upgrade(Version::HTTP_11, &headers).is_some()
    };
    assert!(wanted("websocket", "keep-alive, Upgrade"));
    assert!(!wanted("websocket", "keep-alive"));
    for disguise in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.0"] {
        assert!(!wanted(disguise, "upgrade"), "{disguise}");
    }
    let headers = given(&[("upgrade", "websocket"), ("connection", "upgrade")]);
    assert!(wanted_upgrade(Version::HTTP_10, &headers).is_none());
}

#[test]
fn a_base_path_stands_before_the_path_that_is_left() {
    let target = |uri: &str, below: &str, base: &str| {
        let target = target(&uri.parse().unwrap(), below).unwrap();
        super::below(base, &target).unwrap().to_string()
    };
    assert_eq!(target("/a/b?c=%20d", "/a/b", ""), "/a/b?c=%20d");
    assert_eq!(target("/a/b?c", "/b", ""), "/b?c");
    assert_eq!(target("/a", "", "/static"), "/static/");
    assert_eq!(
        target("/a/%2e%2F?", "/%2e%2F", "/static"),
        "/static/%2e%2F?"
    );
    assert_eq!(target("*", "*", "/static"), "*");
}

proptest! {
    #[test]
    fn path_and_query_are_passed_on_byte_by_byte(
        path in "(/[a-zA-Z0-9._~%2F!$&'()*+,;=:@-]{0,8}){1,4}",
        query in proptest::option::of("[a-zA-Z0-9%=&+/?]{0,16}"),
    ) {
        let text = match &query { Some(query) => format!("{path}?{query}"), None => path.clone() };
        let whole = format!("/prefix{text}");
        let target = target(&whole.parse().unwrap(), &path).unwrap();
        prop_assert_eq!(target.as_str(), &text);
    }
}
