use proptest::prelude::*;

use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::try_from(*value).unwrap());
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).collect()
}

#[test]
fn what_belongs_to_one_connection_is_removed() {
    let mut fields = headers(&[
        ("accept", "*/*"),
        ("connection", "keep-alive, X-Once"),
        ("connection", "x-Twice"),
        ("x-once", "1"),
        ("x-twice", "2"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("proxy", "http://evil"),
        ("proxy-authorization", "Basic eA=="),
        ("proxy-connection", "close"),
        ("expect", "100-continue"),
        ("trailer", "x-sum"),
        ("x-kept", "3"),
    ]);
    remove_hop_by_hop(&mut fields);
    let mut kept = names(&fields);
    kept.sort_unstable();
    assert_eq!(kept, ["accept", "trailer", "x-kept"]);
}

#[test]
fn cookies_that_http2_splits_become_one_field() {
    let mut split = headers(&[
        ("cookie", "a=1"),
        ("x", "y"),
        ("cookie", "b=2"),
        ("cookie", "c"),
    ]);
    join_cookies(&mut split);
    let joined: Vec<_> = split.get_all("cookie").iter().collect();
    assert_eq!(joined, ["a=1; b=2; c"]);
}

#[test]
fn a_token_is_found_in_any_member_and_case() {
    let fields = headers(&[("connection", "close , UPGRADE"), ("connection", "x")]);
    assert!(has_token(&fields, &CONNECTION, "upgrade"));
    assert!(!has_token(&fields, &CONNECTION, "up"));
}

#[test]
fn edits_remove_before_they_set() {
    let wanted: FieldEdits = toml::from_str(
        "remove = [\"Server\", \"Access-Control-*\"]\nset = { Server = \"seance\", \"X-New\" = \"1\" }",
    )
    .unwrap();
    let mut fields = headers(&[
        ("server", "nginx"),
        ("access-control-allow-origin", "*"),
        ("access-control-max-age", "1"),
        ("x-old", "0"),
    ]);
    edit(&mut fields, &Edits::new(&wanted));
    assert_eq!(
        fields,
        headers(&[("x-old", "0"), ("server", "seance"), ("x-new", "1")])
    );
}

proptest! {
    /// Whatever a client names in Connection, every other field stays as it is.
    #[test]
    fn other_fields_go_through_untouched(
        named in proptest::collection::vec("[a-z]{1,6}", 0..4),
        fields in proptest::collection::vec(("[a-z]{1,6}", "[ -~]{0,12}"), 0..20),
    ) {
        let mut all = HeaderMap::new();
        for (name, value) in &fields {
            all.append(
                HeaderName::try_from(name.as_str()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let gone = |name: &HeaderName| is_hop_by_hop(name) || named.iter().any(|n| n == name.as_str());
        let expected: Vec<_> = all.iter().filter(|(name, _)| !gone(name))
            .map(|(name, value)| (name.clone(), value.clone())).collect();
        all.insert(CONNECTION, HeaderValue::try_from(named.join(", ")).unwrap());
        remove_hop_by_hop(&mut all);
        for (name, _) in &expected {
            let left: Vec<_> = all.get_all(name).iter().cloned().collect();
            let wanted: Vec<_> = expected.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect();
            prop_assert_eq!(left, wanted);
        }
        prop_assert_eq!(all.len(), expected.len());
    }
}
