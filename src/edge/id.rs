//! Ids of requests.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use uuid::fmt::Simple;
use uuid::{Builder, Uuid};

use crate::clock;

/// Of this process, and of its first id.
static RANDOM: LazyLock<[u64; 2]> =
    LazyLock::new(|| [Uuid::now_v7(), Uuid::now_v7()].map(|id| id.as_u64_pair().1));
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A UUID of version 7 whose random part counts on from a random beginning (RFC 9562, section 6.2, method 2): two calls
/// of the kernel for random bytes would be a third of all that a small request makes.
pub fn next() -> Uuid {
    let [process, first] = *RANDOM;
    let count = first.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    let mut random = [0; 10];
    random[..2].copy_from_slice(&process.to_be_bytes()[6..]);
    random[2..].copy_from_slice(&count.to_be_bytes());
    let now = u64::try_from(clock::now().as_millisecond()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(now, &random).into_uuid()
}

/// As the `X-Request-Id` of a request and its answer.
pub fn field(id: Uuid) -> HeaderValue {
    let mut text = [0; Simple::LENGTH];
    let text = id.simple().encode_lower(&mut text);
    let mut field = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-")); // hexadecimal digits fit
    // HTTP/2 would remember it to say it shorter the next time (RFC 7541 §7.1.3), and forget what does come again.
    field.set_sensitive(true);
    field
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::Version;

    use super::next;

    #[test]
    fn ids_differ_and_say_when() {
        let ids: HashSet<_> = (0..1000).map(|_| next()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.get_version(), Some(Version::SortRand));
            let (seconds, _) = id.get_timestamp().expect("a time").to_unix();
            assert!(seconds.abs_diff(crate::clock::now().as_second().unsigned_abs()) < 60);
        }
    }
}
