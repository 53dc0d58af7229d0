//! Names and passwords of those who may come in (RFC 7617).

use axum::body::Body;
use base64_simd::STANDARD;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use zeroize::Zeroizing;

use crate::config::{BasicAuth, PasswordHash, UserFiles, UserName, Users};
use crate::edge::client::Client;
use crate::edge::passwords::{Passwords, Verdict};
use crate::edge::request::refusal;

/// Seconds until those that wait are served, roughly.
const BUSY_SECONDS: u64 = 2;

pub struct Login {
    passwords: Passwords,
    challenge: HeaderValue,
    users: Users,
    /// The most expensive of the hashes. Every wrong name or password takes as long as one for it: how long an answer
    /// takes tells no names.
    dearest: Option<PasswordHash>,
}

impl Login {
    pub fn new(auth: &BasicAuth, files: &UserFiles, passwords: &Passwords) -> Login {
        let users = match &auth.users_file {
            Some(file) => files.get(file).cloned().unwrap_or_default(),
            None => auth.users.clone(),
        };
        let realm = auth.realm.as_str();
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        Login {
            passwords: passwords.clone(),
            // The realm was checked; any challenge is better than none.
            challenge: HeaderValue::try_from(challenge)
                .unwrap_or(HeaderValue::from_static("Basic realm=\"\"")),
            dearest: users.values().max_by_key(|hash| hash.cost()).cloned(),
            users,
        }
    }

    /// Lets the request through without its name and password, which are ours alone; `Err` is the answer to one that
    /// goes no further.
    pub async fn pass(
        &self,
        request: &mut Request<Body>,
        client: &Client,
    ) -> Result<(), Box<Response<Body>>> {
        let Some((name, password)) = presented(request.headers()) else {
            return Err(self.ask("A name and a password are needed", client));
        };
        let user = UserName::try_from(name).ok(); // a name that cannot be is nobody's
        let known = user.and_then(|user| self.users.get(&user));
        let Some(dearest) = &self.dearest else {
            return Err(self.ask("Wrong name or password", client));
        };
        let verdict = self.passwords.check(
            known.unwrap_or(dearest),
            dearest.cost(),
            password,
            client.address,
        );
        let verdict = verdict.await;
        let (status, error, seconds) = match verdict {
            Verdict::Right if known.is_some() => {
                request.headers_mut().remove(header::AUTHORIZATION);
                return Ok(());
            }
            Verdict::Right | Verdict::Wrong => {
                return Err(self.ask("Wrong name or password", client));
            }
            Verdict::TooOften(standing) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many wrong passwords",
                standing.seconds_to_wait(),
            ),
            Verdict::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many logins at the same time",
                BUSY_SECONDS,
            ),
        };
        let mut refused = refusal(status, error, &client.request_id);
        let headers = refused.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        Err(Box::new(refused))
    }

    fn ask(&self, error: &str, client: &Client) -> Box<Response<Body>> {
        let mut refused = refusal(StatusCode::UNAUTHORIZED, error, &client.request_id);
        let headers = refused.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, self.challenge.clone());
        Box::new(refused)
    }
}

/// Name and password of the one Authorization field; with several it could not be told which of them counts elsewhere.
fn presented(headers: &HeaderMap) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let (scheme, credentials) = field.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode_to_vec(credentials.trim_ascii()).ok()?; // what is no Base64 is no password
    let decoded = Zeroizing::new(decoded);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?; // ours are all UTF-8
    Some((
        name.to_owned(),
        Zeroizing::new(decoded[colon + 1..].to_vec()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str]) -> Option<(String, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        for field in fields {
            let field = HeaderValue::from_str(field).expect("a value");
            headers.append(header::AUTHORIZATION, field);
        }
        presented(&headers).map(|(name, password)| (name, password.to_vec()))
    }

    #[test]
    fn name_and_password_are_what_stands_before_and_behind_the_first_colon() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.into()));
        // RFC 7617 §2 and §2.1.
        let aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(of(&[aladdin]), pair("Aladdin", "open sesame"));
        assert_eq!(of(&["BASIC  dGVzdDoxMjPCow== "]), pair("test", "123£"));
        assert_eq!(of(&["basic YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(of(&["Basic Og=="]), pair("", ""));
        for nothing in ["Basic", "Basic ", "Basic YQ==", "Basic a:b", "Bearer YTpi"] {
            assert_eq!(of(&[nothing]), None, "{nothing}");
        }
        assert_eq!(of(&["Basic YTpi", "Basic YTpi"]), None);
    }
}
