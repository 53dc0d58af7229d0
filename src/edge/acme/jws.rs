//! Signed requests (RFC 8555 §6.2): JSON Web Signatures in the flattened form, ES256 (RFC 7515 §7.2.2, RFC 7518 §3.4).

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Who signs: an account by its address, or a key that has none yet.
pub fn sign(
    key: &EcdsaKeyPair,
    account: Option<&str>,
    nonce: &str,
    url: &str,
    payload: &str,
) -> Result<String, Unspecified> {
    let protected = match account {
        Some(kid) => json!({ "alg": "ES256", "kid": kid, "nonce": nonce, "url": url }),
        None => json!({ "alg": "ES256", "jwk": public(key)?, "nonce": nonce, "url": url }),
    };
    let signed = flattened(&protected, payload, |input| {
        let signature = key.sign(&SystemRandom::new(), input)?;
        Ok(encode(signature.as_ref()))
    });
    Ok(signed?.to_string())
}

/// The proof that the owner of `key` has an account at the CA under `key_id` (RFC 8555 §7.3.4), to be sent to `url`.
pub fn binding(
    key: &EcdsaKeyPair,
    key_id: &str,
    secret: &[u8],
    url: &str,
) -> Result<Value, Unspecified> {
    let protected = json!({ "alg": "HS256", "kid": key_id, "url": url });
    let payload = public(key)?.to_string();
    flattened(&protected, &payload, |input| {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(encode(hmac::sign(&secret, input).as_ref()))
    })
}

fn flattened(
    protected: &Value,
    payload: &str,
    sign: impl FnOnce(&[u8]) -> Result<String, Unspecified>,
) -> Result<Value, Unspecified> {
    let protected = encode(protected.to_string().as_bytes());
    let payload = encode(payload.as_bytes());
    let signature = sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
}

/// The public key as a JSON Web Key (RFC 7518 §6.2.1): an uncompressed point is 0x04 and two coordinates of 32 bytes.
fn public(key: &EcdsaKeyPair) -> Result<Value, Unspecified> {
    let point = key.public_key().as_ref();
    let (x, y) = (point.get(1..33), point.get(33..65));
    let (Some(x), Some(y)) = (x, y) else {
        return Err(Unspecified);
    };
    Ok(json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) }))
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}
