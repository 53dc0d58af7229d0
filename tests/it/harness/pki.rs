//! Certificates as an operator has them: in files.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A chain and its key.
pub struct Files {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Makes a self-signed certificate for `names`, valid from 2020 to the end of `until` (a year), in `directory`.
pub fn certificate(directory: &Path, stem: &str, names: &[&str], until: i32) -> Files {
    let files = Files {
        chain: directory.join(format!("{stem}.pem")),
        key: directory.join(format!("{stem}.key")),
    };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(&files.chain, certificate.pem()).expect("a chain");
    std::fs::write(&files.key, key.serialize_pem()).expect("a key");
    files
}

impl Files {
    /// The section of a host that is served with these files.
    pub fn host(&self, name: &str) -> String {
        format!(
            "[hosts.\"{name}\"]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
            self.chain.display(),
            self.key.display()
        )
    }

    /// The first certificate of the chain, DER.
    pub fn der(&self) -> Vec<u8> {
        let first = CertificateDer::from_pem_file(&self.chain);
        first.expect("a certificate").to_vec()
    }

    /// Puts other files in the place of these, one after the other.
    pub fn replace_by(&self, others: &Files) {
        std::fs::copy(&others.chain, &self.chain).expect("a chain");
        std::fs::copy(&others.key, &self.key).expect("a key");
    }
}
