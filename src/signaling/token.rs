//! Room tokens: who may enter which topics, signed by a back end that shares a secret with us.
//!
//! A token is a JWT (RFC 7519) in compact form, always HS256, so that any back end can also make them itself. Its claims
//! are `exp`, optionally `nbf`, `topics` (whole names), `prefixes`, `publish` and `subscribe` (both true by default).

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// Clocks of two machines may differ by this much, seconds.
const SKEW: i64 = 60;
/// A longer token does not fit into a request head anyway, bytes.
const TOKEN_MOST: usize = 8 * 1024;
/// RFC 7518 §3.2: a key of at least the size of the hash.
const KEY_LEAST: usize = 32;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Seconds since 1970.
    pub exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    #[serde(default = "yes")]
    pub publish: bool,
    #[serde(default = "yes")]
    pub subscribe: bool,
}

/// What a back end asks for.
pub struct TokenOrder {
    pub topics: Vec<String>,
    pub prefixes: Vec<String>,
    pub publish: bool,
    pub subscribe: bool,
    /// Seconds; at most and by default what the configuration allows.
    pub lifetime: Option<u64>,
}

/// Why no token is made: it could never be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("`signaling.token_key_files` names no key to sign with")]
    NoKey,
    #[error("`topics` and `prefixes` are both empty: the token would name no room")]
    NoTopic,
    #[error("`publish` and `subscribe` are both false: the token would allow nothing")]
    NoRight,
    #[error("the token would expire at once: `expiresIn` has to be 1 or more, seconds")]
    NoTime,
    #[error("`topics` and `prefixes` make a token of {0} bytes; it may have {TOKEN_MOST}")]
    Long(usize),
}

impl TokenOrder {
    fn claims(self, now: Timestamp, most: u64) -> Result<Claims, OrderError> {
        if self.topics.is_empty() && self.prefixes.is_empty() {
            return Err(OrderError::NoTopic);
        }
        if !self.publish && !self.subscribe {
            return Err(OrderError::NoRight);
        }
        let lifetime = self.lifetime.unwrap_or(most).min(most);
        if lifetime == 0 {
            return Err(OrderError::NoTime);
        }
        Ok(Claims {
            exp: now.as_second().saturating_add_unsigned(lifetime),
            nbf: None,
            topics: self.topics,
            prefixes: self.prefixes,
            publish: self.publish,
            subscribe: self.subscribe,
        })
    }
}

fn yes() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is no JWT of ours")]
    Form,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired or is not valid yet")]
    Time,
}

#[derive(Debug, thiserror::Error)]
#[error("the token key `{name}` is shorter than {KEY_LEAST} bytes")]
pub struct ShortKey {
    name: String,
}

/// The keys that verify; the first one signs.
#[derive(Default)]
pub struct Keys {
    keys: Vec<(String, hmac::Key)>,
}

impl Keys {
    pub fn new(secrets: &[(String, Secret)]) -> Result<Keys, ShortKey> {
        let key = |(name, secret): &(String, Secret)| {
            let bytes = secret.expose().as_bytes();
            if bytes.len() < KEY_LEAST {
                return Err(ShortKey { name: name.clone() });
            }
            Ok((name.clone(), hmac::Key::new(hmac::HMAC_SHA256, bytes)))
        };
        Ok(Keys {
            keys: secrets.iter().map(key).collect::<Result<_, _>>()?,
        })
    }

    /// A token, and when it expires, seconds since 1970. `most` is its longest life, seconds.
    pub fn issue(
        &self,
        order: TokenOrder,
        now: Timestamp,
        most: u64,
    ) -> Result<(String, i64), OrderError> {
        let claims = order.claims(now, most)?;
        let token = self.sign(&claims).ok_or(OrderError::NoKey)?;
        if token.len() > TOKEN_MOST {
            return Err(OrderError::Long(token.len()));
        }
        Ok((token, claims.exp))
    }

    /// A signed token; none without a key.
    fn sign(&self, claims: &Claims) -> Option<String> {
        let (name, key) = self.keys.first()?;
        let header = Header {
            alg: "HS256".to_owned(),
            kid: Some(name.clone()),
        };
        let mut token = encode(&serde_json::to_vec(&header).ok()?);
        token.push('.');
        token.push_str(&encode(&serde_json::to_vec(claims).ok()?));
        let signature = hmac::sign(key, token.as_bytes());
        token.push('.');
        token.push_str(&encode(signature.as_ref()));
        Some(token)
    }

    /// What a token says, when one of the keys signed it and `now` (seconds since 1970) lies in its time.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_MOST {
            return Err(TokenError::Form);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
        let header: Header = parse(header)?;
        // The only algorithm: a token never chooses how it is checked (RFC 8725 §3.1).
        if header.alg != "HS256" {
            return Err(TokenError::Form);
        }
        let signature = decode(signature)?;
        let named =
            |(name, _): &&(String, hmac::Key)| header.kid.as_ref().is_none_or(|kid| kid == name);
        let signed_by = |(_, key): &(String, hmac::Key)| {
            hmac::verify(key, signed.as_bytes(), &signature).is_ok()
        };
        if !self.keys.iter().filter(named).any(signed_by) {
            return Err(TokenError::Signature);
        }
        let claims: Claims = parse(claims)?;
        if now >= claims.exp || claims.nbf.is_some_and(|nbf| now.saturating_add(SKEW) < nbf) {
            return Err(TokenError::Time);
        }
        Ok(claims)
    }
}

impl Claims {
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.subscribe && self.names(topic)
    }

    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish && self.names(topic)
    }

    fn names(&self, topic: &str) -> bool {
        self.topics.iter().any(|name| name == topic)
            || self
                .prefixes
                .iter()
                .any(|prefix| topic.starts_with(&**prefix))
    }
}

fn encode(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text)
        .map_err(|_| TokenError::Form)
}

fn parse<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| TokenError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Keys {
        let secret = |name: &&str| {
            (
                name.to_string(),
                Secret::from(format!("{name}{}", "x".repeat(32))),
            )
        };
        Keys::new(&names.iter().map(secret).collect::<Vec<_>>()).unwrap()
    }

    fn claims(exp: i64) -> Claims {
        Claims {
            exp,
            nbf: None,
            topics: vec!["whole".to_owned()],
            prefixes: vec!["team/".to_owned()],
            publish: true,
            subscribe: false,
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_as_long_as_its_key_is_known() {
        let token = keys(&["old"]).sign(&claims(100)).unwrap();
        assert_eq!(keys(&["new", "old"]).verify(&token, 99), Ok(claims(100)));
        assert_eq!(
            keys(&["new", "old"]).verify(&token, 100),
            Err(TokenError::Time)
        );
        assert_eq!(
            keys(&["new"]).verify(&token, 99),
            Err(TokenError::Signature)
        );
        assert_eq!(
            Keys::default().verify(&token, 99),
            Err(TokenError::Signature)
        );
    }

    #[test]
    fn no_byte_of_a_token_may_change() {
        let keys = keys(&["key"]);
        let token = keys.sign(&claims(100)).unwrap();
        for at in 0..token.len() {
            for other in ["A", "b", ".", "="] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, other);
                // The last characters carry unused bits, which the decoder refuses.
                assert!(
                    changed == token || keys.verify(&changed, 1).is_err(),
                    "{at} {other}"
                );
            }
        }
        assert_eq!(keys.verify("", 1), Err(TokenError::Form));
        assert_eq!(keys.verify("..", 1), Err(TokenError::Form));
    }

    #[test]
    fn a_token_made_elsewhere_verifies_and_other_algorithms_do_not() {
        // Signed with Python's hmac.
        let key = Keys::new(&[("a".to_owned(), Secret::from("k".repeat(32)))]).unwrap();
        let none = format!(
            "{}.{}.",
            encode(br#"{"alg":"none"}"#),
            encode(br#"{"exp":9}"#)
        );
        assert_eq!(key.verify(&none, 1), Err(TokenError::Form));
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjk5OTk5OTk5OTksInRvcGljcyI6WyJhIl19.qQDkSW6AknCTkIEZI8UIPV6VFrEZhfySzr2qZhlK6_Q";
        let claims = key.verify(token, 1).unwrap();
        assert!(claims.may_publish("a") && claims.may_subscribe("a") && !claims.may_publish("b"));
    }

    #[test]
    fn rights_and_names_both_have_to_fit() {
        let claims = claims(100);
        assert!(claims.may_publish("whole") && claims.may_publish("team/x"));
        assert!(!claims.may_publish("whole2") && !claims.may_publish("tea"));
        assert!(!claims.may_subscribe("whole"));
    }

    #[test]
    fn no_token_is_made_that_could_never_be_used() {
        let order = |names: usize, publish, lifetime| TokenOrder {
            topics: (0..names).map(|n| format!("topic-{n:06}")).collect(),
            prefixes: Vec::new(),
            publish,
            subscribe: false,
            lifetime,
        };
        let now = Timestamp::from_second(100).unwrap();
        let issue = |order| keys(&["key"]).issue(order, now, 50);
        let (token, expires) = issue(order(1, true, Some(1000))).unwrap();
        assert_eq!(expires, 150);
        assert!(keys(&["key"]).verify(&token, 149).is_ok());
        assert_eq!(issue(order(0, true, None)), Err(OrderError::NoTopic));
        assert_eq!(issue(order(1, false, None)), Err(OrderError::NoRight));
        assert_eq!(issue(order(1, true, Some(0))), Err(OrderError::NoTime));
        let most = (1..1000)
            .rev()
            .find_map(|names| issue(order(names, true, None)).ok());
        let (longest, _) = most.unwrap();
        assert!(keys(&["key"]).verify(&longest, 101).is_ok() && longest.len() > 8000);
        let longer = issue(order(1000, true, None));
        assert!(matches!(longer, Err(OrderError::Long(_))), "{longer:?}");
        let without = Keys::default().issue(order(1, true, None), now, 50);
        assert_eq!(without, Err(OrderError::NoKey));
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Keys::new(&[("k".to_owned(), Secret::from("x".repeat(31)))]).is_err());
    }
}
