//! Time-limited TURN credentials in the REST form that coturn checks (`use-auth-secret`; draft-uberti-behave-turn-rest-00).

use aws_lc_rs::hmac;

use crate::config::Secret;

pub struct Turn {
    urls: Vec<String>,
    lifetime: u64,
    key: hmac::Key,
}

pub struct Credentials {
    /// When they expire (seconds since 1970), a colon and the user.
    pub username: String,
    pub password: String,
    /// Seconds.
    pub lifetime: u64,
    pub urls: Vec<String>,
}

impl Turn {
    pub fn new(urls: &[String], lifetime: u64, secret: &Secret) -> Turn {
        // SHA-1 is what the protocol names; an HMAC does not need its collision resistance.
        let key = hmac::Key::new(
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            secret.expose().as_bytes(),
        );
        Turn {
            urls: urls.to_vec(),
            lifetime,
            key,
        }
    }

    /// Credentials for `user`, from `now` (seconds since 1970) on.
    pub fn credentials(&self, user: &str, now: i64) -> Credentials {
        let expires = now.saturating_add_unsigned(self.lifetime);
        let username = format!("{expires}:{user}");
        let mac = hmac::sign(&self.key, username.as_bytes());
        Credentials {
            password: base64_simd::STANDARD.encode_to_string(mac.as_ref()),
            username,
            lifetime: self.lifetime,
            urls: self.urls.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_mac_that_coturn_computes() {
        let turn = Turn::new(
            &["turn:a".to_owned()],
            3600,
            &Secret::from("north".to_owned()),
        );
        let credentials = turn.credentials("peer", 1_700_000_000);
        assert_eq!(credentials.username, "1700003600:peer");
        // openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credentials.password, "tZxtQi1OIHXrplVgy5ets8RxlPo=");
    }
}
