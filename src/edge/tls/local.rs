//! A CA of this machine's own, for names that no public CA certifies. Made on first use, trusted by whoever installs its
//! root (`seance trust`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// Directory of the CA below the state directory.
const DIRECTORY: &str = "local-ca";
const ROOT: &str = "root.pem";
const KEY: &str = "root.key";
/// Installing a root is work: it has to last.
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);
/// Certificates cost nothing to make; a stolen one is of use for this long.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Clocks differ.
const BACKDATE: SignedDuration = SignedDuration::from_hours(24);

/// The root and its key.
pub struct LocalCa {
    /// Certificate of the root, PEM.
    pub root: String,
    pub path: PathBuf,
    key: KeyPair,
}

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot make the directory {path} of the local CA")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the local CA's {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write the local CA's {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the local CA's key {path} cannot be used; remove its directory to get a new CA")]
    Key {
        path: PathBuf,
        #[source]
        source: rcgen::Error,
    },
    #[error("cannot make the local CA")]
    Root(#[source] rcgen::Error),
    #[error("the local CA cannot issue a certificate for `{name}`")]
    Issue {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("the certificate that the local CA made for `{name}` cannot be used")]
    Use {
        name: String,
        #[source]
        source: rustls::Error,
    },
}

impl LocalCa {
    /// The CA of a state directory; made when there is none. Two that make it at the same time get the same one.
    ///
    /// # Errors
    /// Files that cannot be read or written, and a key that is none.
    pub fn open(state: &Path, now: Timestamp) -> Result<LocalCa, LocalError> {
        let directory = state.join(DIRECTORY);
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&directory);
        made.map_err(|source| LocalError::Directory {
            path: directory.clone(),
            source,
        })?;
        let (key_path, path) = (directory.join(KEY), directory.join(ROOT));
        let new_key = || {
            let key = KeyPair::generate().map_err(LocalError::Root)?;
            Ok(Zeroizing::new(key.serialize_pem()))
        };
        let key_pem = Zeroizing::new(read_or_create(&key_path, 0o600, new_key)?);
        let key = KeyPair::from_pem(&key_pem).map_err(|source| LocalError::Key {
            path: key_path,
            source,
        })?;
        let new_root = || {
            let mut params = root_params(&key);
            set_life(&mut params, now, ROOT_LIFE);
            let root = params.self_signed(&key).map_err(LocalError::Root)?;
            Ok(Zeroizing::new(root.pem()))
        };
        let root = read_or_create(&path, 0o644, new_root)?;
        Ok(LocalCa { root, path, key })
    }

    /// A certificate for `name`, with a key of its own that is never written down.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn issue(&self, name: &str, now: Timestamp) -> Result<CertifiedKey, LocalError> {
        let failed = |source| LocalError::Issue {
            name: name.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new([name.to_owned()]).map_err(failed)?;
        params.distinguished_name = named(name);
        set_life(&mut params, now, LEAF_LIFE);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Of the root only its name and key matter here; both are the same each time.
        let issuer = root_params(&self.key)
            .self_signed(&self.key)
            .map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer, &self.key).map_err(failed)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private);
        let signing = signing.map_err(|source| LocalError::Use {
            name: name.to_owned(),
            source,
        })?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
    }
}

/// Roots of several machines in one list are told apart by the beginning of their key.
fn root_params(key: &KeyPair) -> CertificateParams {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.public_key_der());
    let short: String = hex::encode(digest).chars().take(8).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("seance local CA {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// rcgen counts in days.
fn set_life(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1); // a month or a day: never negative
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = day(now - BACKDATE);
    params.not_after = day(now + life);
}

/// What `path` holds; what `make` makes when it does not exist. The file appears whole, and never a second time: of two
/// that make it, one is read by both.
fn read_or_create(
    path: &Path,
    mode: u32,
    make: impl FnOnce() -> Result<Zeroizing<String>, LocalError>,
) -> Result<String, LocalError> {
    let unread = |source| LocalError::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(unread),
    }
    let text = make()?;
    let unwritten = |source| LocalError::Write {
        path: path.to_owned(),
        source,
    };
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = write(&new, mode, &text).and_then(|()| std::fs::hard_link(&new, path));
    let _left_over = std::fs::remove_file(&new); // a stray copy in a private directory harms nobody
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unwritten(error)),
        _ => std::fs::read_to_string(path).map_err(unread),
    }
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
