//! Content codings: which ones a client takes (RFC 9110 §12.5.3), which contents are worth one.

use http::{HeaderMap, header};

/// A content coding that is made or sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Zstd,
    Brotli,
    Gzip,
}

/// The codings that a client takes, with their weights in thousandths; 0 is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    weights: [u16; 3],
    identity: u16,
}

impl Encoding {
    /// In the order in which they are preferred among equals.
    pub const ALL: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstd, Encoding::Gzip];

    pub fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }

    /// What stands behind the name of a file that is compressed so.
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Zstd => ".zst",
            Encoding::Brotli => ".br",
            Encoding::Gzip => ".gz",
        }
    }

    fn index(self) -> usize {
        match self {
            Encoding::Brotli => 0,
            Encoding::Zstd => 1,
            Encoding::Gzip => 2,
        }
    }
}

impl Accepted {
    /// `None` when the client takes contents as they are, whatever else.
    pub fn of(headers: &HeaderMap) -> Option<Accepted> {
        let mut values = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
        values.peek()?;
        let mut named = [None; 3];
        let (mut identity, mut any) = (None, None);
        let codings = values.filter_map(|value| value.to_str().ok());
        for coding in codings.flat_map(|value| value.split(',')) {
            let (name, weight) = weighted(coding);
            match name {
                "*" => any = Some(weight),
                name if name.eq_ignore_ascii_case("identity") => identity = Some(weight),
                // RFC 9110 §8.4.1.3
                name if name.eq_ignore_ascii_case("x-gzip") => {
                    named[Encoding::Gzip.index()] = Some(weight);
                }
                name => {
                    let known = Encoding::ALL.into_iter();
                    for encoding in known.filter(|known| name.eq_ignore_ascii_case(known.name())) {
                        named[encoding.index()] = Some(weight);
                    }
                }
            }
        }
        let accepted = Accepted {
            weights: named.map(|weight| weight.or(any).unwrap_or(0)),
            // Taken even where nothing else is: an answer in no coding is better than none.
            identity: identity.or(any).unwrap_or(0),
        };
        accepted
            .weights
            .iter()
            .any(|weight| *weight > 0)
            .then_some(accepted)
    }

    pub fn takes(&self, encoding: Encoding) -> bool {
        let weight = self.weights[encoding.index()];
        weight > 0 && weight >= self.identity
    }

    /// The one that the client likes best; among equals the first.
    pub fn best<T>(&self, offered: impl Iterator<Item = (Encoding, T)>) -> Option<(Encoding, T)> {
        let mut best: Option<(u16, (Encoding, T))> = None;
        for (encoding, offer) in offered {
            let weight = self.weights[encoding.index()];
            let better = best.as_ref().is_none_or(|(most, _)| weight > *most);
            if self.takes(encoding) && better {
                best = Some((weight, (encoding, offer)));
            }
        }
        best.map(|(_, offer)| offer)
    }
}

/// A coding with its weight in thousandths. A weight that cannot be read counts as 0: the client may not want it.
fn weighted(coding: &str) -> (&str, u16) {
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim_end()
            .eq_ignore_ascii_case("q")
            .then(|| value.trim_start())
    });
    (name, weight.map_or(1000, thousandths))
}

fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if digits => format!("{fraction:0<3}").parse().unwrap_or(0),
        "1" if digits && fraction.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    }
}

/// Whether contents of this type shrink: text in one form or another, and what is nearly text.
pub fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    // Events have to go out one by one (and proxies on the way may gather what is compressed).
    if essence == "text/event-stream" {
        return false;
    }
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/json"
                | "application/javascript"
                | "application/x-javascript"
                | "application/xml"
                | "application/x-plist"
                | "application/yaml"
                | "application/graphql"
                | "application/wasm"
                | "application/x-ndjson"
                | "font/ttf"
                | "font/otf"
                | "image/x-icon"
                | "image/bmp"
        )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn best(accept: &str, offered: &[Encoding]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_str(accept).unwrap(),
        );
        let accepted = Accepted::of(&headers)?;
        let best = accepted.best(offered.iter().map(|offer| (*offer, ())));
        best.map(|(encoding, ())| encoding.name())
    }

    #[test]
    fn a_client_gets_what_it_weighs_most() {
        let all = &Encoding::ALL;
        for (accept, wanted) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, deflate", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("br;q=0.5, gzip;q=0.8", Some("gzip")),
            ("br;q=0.5,gzip; q = 0.8", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("br;q=0.001", Some("br")),
            ("*", Some("br")),
            ("*;q=0.5, br;q=0", Some("zstd")),
            ("gzip;q=0.5, *;q=0.7", Some("br")),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some("gzip")),
            ("identity;q=0.5, gzip;q=0.5", Some("gzip")),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("", None),
            ("deflate", None),
            ("br;q=nonsense", None),
            ("br;q=2", None),
            ("br;q=1.000", Some("br")),
            ("br;q=1.001", None),
            ("br;q=0.1234", None),
            ("br;q=-1", None),
            (",, ,br", Some("br")),
        ] {
            assert_eq!(best(accept, all), wanted, "{accept:?}");
        }
        assert_eq!(best("gzip, br", &[Encoding::Gzip]), Some("gzip"));
        assert_eq!(best("br", &[Encoding::Gzip]), None);
    }

    #[test]
    fn texts_are_worth_a_coding_and_pictures_are_not() {
        for kind in [
            "text/html; charset=utf-8",
            "TEXT/CSS",
            "application/json",
            "image/svg+xml",
            "application/wasm",
            "application/problem+json",
        ] {
            assert!(is_compressible(kind), "{kind}");
        }
        for kind in [
            "",
            "image/png",
            "font/woff2",
            "text/event-stream",
            "video/mp4",
            "application/zip",
            "application/octet-stream",
        ] {
            assert!(!is_compressible(kind), "{kind}");
        }
    }
}
