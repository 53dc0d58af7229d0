//! Preconditions of a request for a content with a strong entity tag (RFC 9110 §13).

use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;

/// What the preconditions say, in the order of RFC 9110 §13.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// `etag` is strong, quotes included.
pub fn verdict(headers: &HeaderMap, etag: &str, modified: Timestamp) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        if !any(headers, header::IF_MATCH, |tag| tag == etag) {
            return Verdict::Failed;
        }
    } else if date(headers, header::IF_UNMODIFIED_SINCE)
        .is_some_and(|since| modified.as_second() > since)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == etag;
        if any(headers, header::IF_NONE_MATCH, weak) {
            return Verdict::NotModified;
        }
    } else if date(headers, header::IF_MODIFIED_SINCE)
        .is_some_and(|since| modified.as_second() <= since)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `Range` counts. A date is no strong validator (RFC 9110 §13.1.5, §8.8.2.2): it never holds, and the client
/// gets the whole content.
pub fn range_counts(headers: &HeaderMap, etag: &str) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(tag) => tag.as_bytes().trim_ascii() == etag.as_bytes(),
    }
}

/// Whether one tag of the list fits; `*` fits everything.
fn any(headers: &HeaderMap, name: HeaderName, fits: impl Fn(&str) -> bool) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    // Our tags hold no comma, so a foreign one that is cut in two fits no more than it did whole.
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || fits(tag))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    let time = httpdate::parse_http_date(text).ok()?; // RFC 9110 §13.1.3: what is no date is ignored
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn of(fields: &[(&'static str, &str)]) -> Verdict {
        verdict(
            &headers(fields),
            TAG,
            Timestamp::from_second(1_700_000_000).unwrap(),
        )
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        fields.collect()
    }

    #[test]
    fn an_entity_tag_outranks_a_date() {
        let late = "Wed, 01 Jan 2031 00:00:00 GMT";
        assert_eq!(of(&[]), Verdict::Proceed);
        assert_eq!(of(&[("if-none-match", TAG)]), Verdict::NotModified);
        assert_eq!(
            of(&[("if-none-match", "\"x\", W/\"abc\"")]),
            Verdict::NotModified
        );
        assert_eq!(of(&[("if-none-match", "*")]), Verdict::NotModified);
        assert_eq!(
            of(&[("if-none-match", "\"x\""), ("if-modified-since", late)]),
            Verdict::Proceed
        );
        assert_eq!(of(&[("if-modified-since", late)]), Verdict::NotModified);
        assert_eq!(
            of(&[("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT")]),
            Verdict::NotModified
        );
        assert_eq!(
            of(&[("if-modified-since", "Tue, 14 Nov 2023 22:13:19 GMT")]),
            Verdict::Proceed
        );
        assert_eq!(of(&[("if-modified-since", "nonsense")]), Verdict::Proceed);
    }

    #[test]
    fn a_content_that_must_match_and_does_not_fails() {
        assert_eq!(of(&[("if-match", TAG)]), Verdict::Proceed);
        assert_eq!(of(&[("if-match", "W/\"abc\"")]), Verdict::Failed);
        assert_eq!(
            of(&[("if-match", "\"x\""), ("if-none-match", TAG)]),
            Verdict::Failed
        );
        assert_eq!(
            of(&[("if-unmodified-since", "Wed, 01 Jan 2020 00:00:00 GMT")]),
            Verdict::Failed
        );
    }

    #[test]
    fn a_range_counts_only_for_the_very_same_content() {
        assert!(range_counts(&headers(&[]), TAG));
        assert!(range_counts(&headers(&[("if-range", TAG)]), TAG));
        for other in ["W/\"abc\"", "\"x\"", "Tue, 14 Nov 2023 22:13:20 GMT"] {
            assert!(
                !range_counts(&headers(&[("if-range", other)]), TAG),
                "{other}"
            );
        }
    }
}
