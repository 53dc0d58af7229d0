//! Static files: a web app or site from a directory, or from an app's newest deploy.
//!
//! A small file that was asked for before is answered from memory, with header fields made beforehand: a look at what the
//! source stands at, one at a map, one at the request's conditions. Everything else goes through [`path`].

mod directory;
mod entry;
mod memory;
mod path;
mod source;
mod squeeze;
mod tree;

use std::sync::{Arc, PoisonError, Weak};

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use jiff::SignedDuration;
use tokio::sync::Mutex;

use self::directory::Directory;
use self::entry::{Entry, Form, etag};
use self::memory::Memory;
use self::path::{Outcome, Wanted};
use self::source::{Content, FilesError, Found, Source};
use self::squeeze::Press;
use self::tree::Tree;
use crate::cause::chain;
use crate::config::{self, App, AppName, REQUEST_ID, StorePrefix};
use crate::content::conditional::{self, Verdict};
use crate::content::{self, ContentError, not_modified, set};
use crate::edge::encoding::Accepted;
use crate::release::Releases;
use crate::store::Store;
use crate::tasks::Tasks;

/// Files read into memory at the same time; more than one request for one file waits for the first.
const READERS: usize = 64;

/// Looks at a file that changes while it is read.
const LOOKS: u32 = 3;

/// When a client may come back after 503, seconds.
const RETRY_SECONDS: u64 = 5;

/// What files are served from. It knows the ones in use, so that those whose options did not change survive a reload with
/// all that they have in memory.
pub struct Cabinet {
    releases: Releases,
    store: Store,
    tasks: Tasks,
    open: std::sync::Mutex<Vec<Weak<Files>>>,
}

impl Cabinet {
    pub fn new(releases: Releases, store: Store, tasks: Tasks) -> Cabinet {
        Cabinet {
            releases,
            store,
            tasks,
            open: std::sync::Mutex::default(),
        }
    }

    /// The files of a route; routes with the same options share them.
    pub fn files(&self, config: &config::Files, apps: &[App]) -> Arc<Files> {
        let app = |name: &AppName| apps.iter().find(|app| app.name == *name);
        let prefix = config.app.as_ref().and_then(app).map(|app| &app.prefix);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|files| files.strong_count() > 0);
        let same = |files: &Arc<Files>| *files.config == *config && files.source.prefix() == prefix;
        if let Some(files) = open.iter().filter_map(Weak::upgrade).find(same) {
            return files;
        }
        let files = Arc::new(Files::new(config, prefix, self));
        open.push(Arc::downgrade(&files));
        files
    }
}

/// The files of one route.
pub struct Files {
    config: Arc<config::Files>,
    source: Source,
    memory: Arc<Memory>,
    press: Press,
    readers: Vec<Mutex<()>>,
}

/// What a file is answered with.
enum Answer {
    Kept(Arc<Entry>),
    /// Too large for memory.
    Large(Found),
}

impl Files {
    /// `prefix` is that of the app whose files are served; without one it is the configured directory.
    fn new(config: &config::Files, prefix: Option<&StorePrefix>, cabinet: &Cabinet) -> Files {
        let source = match prefix {
            Some(prefix) => Source::Tree(Tree {
                releases: cabinet.releases.clone(),
                store: cabinet.store.clone(),
                prefix: prefix.clone(),
                keep_replaced: SignedDuration::from_hours(
                    i64::from(config.keep_replaced_days) * 24,
                ),
            }),
            None => {
                let directory = config.directory.clone().unwrap_or_default();
                Source::Directory(Arc::new(Directory::new(directory)))
            }
        };
        let budget = usize::try_from(config.memory_bytes).unwrap_or(usize::MAX);
        Files {
            config: Arc::new(config.clone()),
            source,
            memory: Arc::new(Memory::new(budget)),
            press: Press::new(cabinet.tasks.clone()),
            readers: std::iter::repeat_with(Mutex::default)
                .take(READERS)
                .collect(),
        }
    }

    /// Answers for the path below the route, which is as it was sent: still encoded, without the query.
    pub async fn answer(&self, request: Request<Body>, path: &str) -> Response {
        let (request, _unread) = request.into_parts();
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n");
            let methods = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, methods);
            return response;
        }
        if path.is_empty() && !request.uri.path().ends_with('/') {
            return redirect(below_itself(request.uri.path()), &request);
        }
        let stamp = self.source.stamp();
        if let Some(entry) = self.memory.at(path, stamp) {
            return self.kept(&entry, &request).await;
        }
        match Box::pin(self.look(path, stamp, &request)).await {
            Ok(response) => response,
            Err(error) => failed(&error, &request),
        }
    }

    async fn look(&self, path: &str, stamp: u64, request: &Parts) -> Result<Response, FilesError> {
        let Some(wanted) = Wanted::parse(path) else {
            return Ok(not_found());
        };
        let navigation = is_navigation(request, &wanted);
        let mut looks = 0;
        loop {
            looks += 1;
            let found = self.source.find(&wanted, &self.config, navigation).await?;
            let answered = match found {
                Outcome::File(found) => self.file(found, request, Some((path, stamp))).await,
                Outcome::Fallback(found) => self.file(found, request, None).await,
                Outcome::Redirect(location) => Ok(redirect(location, request)),
                Outcome::Absent(None) => Ok(not_found()),
                Outcome::Absent(Some(page)) => self.absent(page, request).await,
            };
            match answered {
                Err(FilesError::Restless { .. }) if looks < LOOKS => {}
                answered => return answered,
            }
        }
    }

    async fn file(
        &self,
        found: Found,
        request: &Parts,
        known: Option<(&str, u64)>,
    ) -> Result<Response, FilesError> {
        match self.open(found).await? {
            Answer::Kept(entry) => {
                if let Some((path, stamp)) = known {
                    self.memory.know(path, stamp, &entry);
                }
                Ok(self.kept(&entry, request).await)
            }
            Answer::Large(found) => self.large(found, request).await,
        }
    }

    /// The file as it is kept in memory, read into it where that is missing.
    async fn open(&self, found: Found) -> Result<Answer, FilesError> {
        if found.content.size() > self.memory.largest() {
            return Ok(Answer::Large(found));
        }
        let version = found.version();
        let current = || {
            let entry = self.memory.named(&found.name);
            entry.filter(|entry| entry.version == version && entry.kind == found.kind)
        };
        if let Some(entry) = current() {
            return Ok(Answer::Kept(entry));
        }
        // One at a time for a name: a new deploy's files are asked for by everybody at once.
        let turn = match self.readers.get(stripe(&found.name)) {
            Some(reader) => Some(reader.lock().await),
            None => None,
        };
        if let Some(entry) = current() {
            return Ok(Answer::Kept(entry));
        }
        let store = self.source.store();
        let bytes = found.content.read(&found.name, store).await?;
        let mut neighbours = Vec::new();
        for (encoding, content) in &found.neighbours {
            // Where it is no smaller it is of no use, and it may be of any size.
            if content.size() < found.content.size() {
                neighbours.push((*encoding, content.read(&found.name, store).await?));
            }
        }
        let settled = version.is_settled();
        let (name, kind) = (&found.name, found.kind.clone());
        let entry = Entry::new(name, version, kind, found.modified, bytes, neighbours);
        let entry = Arc::new(entry);
        self.memory.keep(&entry);
        drop(turn);
        if self.config.precompress && settled {
            self.press.begin(&entry, &self.memory);
        }
        Ok(Answer::Kept(entry))
    }

    /// Answers from memory.
    async fn kept(&self, entry: &Entry, request: &Parts) -> Response {
        let form = negotiated(entry, request);
        match conditional::verdict(&request.headers, &form.etag, entry.modified) {
            Verdict::Proceed => {}
            Verdict::NotModified => return not_modified(form.headers.clone()),
            Verdict::Failed => return precondition_failed(),
        }
        if request.headers.contains_key(header::RANGE) {
            let content = content::Content {
                content_type: &entry.kind.content_type,
                size: form.bytes.len() as u64,
                boundary: boundary(entry.hash()),
                source: content::Source::Memory(&form.bytes),
            };
            return self
                .selected(&content, form.headers.clone(), &form.etag, request)
                .await
                .unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "")); // memory cannot fail
        }
        form.response(StatusCode::OK, request)
    }

    /// Answers from disk or store, with what the request selects of the file.
    async fn large(&self, found: Found, request: &Parts) -> Result<Response, FilesError> {
        let varies = !found.neighbours.is_empty();
        let hash = found.content.hash();
        let mut sent = (&found.content, None);
        if !request.headers.contains_key(header::RANGE)
            && let Some(accepted) = Accepted::of(&request.headers)
            && let Some((encoding, content)) = accepted.best(
                found
                    .neighbours
                    .iter()
                    .map(|(encoding, content)| (*encoding, content)),
            )
        {
            sent = (content, Some(encoding));
        }
        let (content, encoding) = sent;
        let etag = etag(&hash, encoding);
        let mut head = found.kind.headers(&etag, found.modified, varies);
        if let Some(encoding) = encoding {
            set(&mut head, header::CONTENT_ENCODING, encoding.name());
        }
        match conditional::verdict(&request.headers, &etag, found.modified) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(not_modified(head)),
            Verdict::Failed => return Ok(precondition_failed()),
        }
        let source = match (content, self.source.store()) {
            (Content::Local(file, _), _) => content::Source::Local(found.key()?, file.clone()),
            (Content::Stored(file), Some(store)) => content::Source::Stored(store, file),
            (Content::Stored(_), None) => return Err(FilesError::Unknown),
        };
        let content = content::Content {
            content_type: &found.kind.content_type,
            size: content.size(),
            boundary: boundary(&hash),
            source,
        };
        self.selected(&content, head, &etag, request)
            .await
            .map_err(|source| FilesError::Content {
                name: found.name.clone(),
                source,
            })
    }

    async fn selected(
        &self,
        content: &content::Content<'_>,
        head: HeaderMap,
        etag: &str,
        request: &Parts,
    ) -> Result<Response, ContentError> {
        let selection = content::select(request, etag, content.size, self.config.max_ranges);
        match content.answer(head, selection, request).await {
            Err(ContentError::Range { size }) => {
                let mut response =
                    text(StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable\n");
                let range = format!("bytes */{size}");
                set(response.headers_mut(), header::CONTENT_RANGE, range);
                Ok(response)
            }
            answered => answered,
        }
    }

    /// The site's own page for what is not there.
    async fn absent(&self, page: Found, request: &Parts) -> Result<Response, FilesError> {
        let Answer::Kept(entry) = self.open(page).await? else {
            return Ok(not_found());
        };
        let mut response = negotiated(&entry, request).response(StatusCode::NOT_FOUND, request);
        // They tell of the page, not of what was asked for.
        for name in [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES] {
            response.headers_mut().remove(name);
        }
        Ok(response)
    }
}

impl Form {
    fn response(&self, status: StatusCode, request: &Parts) -> Response {
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            Body::from(self.bytes.clone())
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// Ranges are of the file as it is: a client that joins them up wants that one.
fn negotiated<'a>(entry: &'a Entry, request: &Parts) -> &'a Form {
    let encoded = entry.encoded();
    if encoded.is_empty() || request.headers.contains_key(header::RANGE) {
        return &entry.plain;
    }
    let accepted = Accepted::of(&request.headers);
    let offered = encoded.iter().map(|(encoding, form)| (*encoding, form));
    let best = accepted.and_then(|accepted| accepted.best(offered));
    best.map_or(&entry.plain, |(_, form)| form)
}

/// Whether a person goes to this address, so that an app without a file of this name answers with itself. Browsers say so
/// (Fetch Metadata); of others those count that want a page, or that do not care and name no file by its look.
fn is_navigation(request: &Parts, wanted: &Wanted) -> bool {
    if let Some(mode) = request.headers.get("sec-fetch-mode") {
        return mode == "navigate";
    }
    let accept = request.headers.get(header::ACCEPT);
    let accept = accept.map_or("*/*", |accept| accept.to_str().unwrap_or_default());
    if accept.contains("text/html") {
        return true;
    }
    let last = wanted.name.rsplit('/').next().unwrap_or_default();
    accept.contains("*/*") && !last.contains('.')
}

/// To the root of a route that was asked for without its slash: its pages refer to names below that.
fn below_itself(path: &str) -> String {
    format!("./{}/", path.rsplit('/').next().unwrap_or_default())
}

fn redirect(location: String, request: &Parts) -> Response {
    let location = match request.uri.query() {
        Some(query) => format!("{location}?{query}"),
        None => location,
    };
    let mut response = text(StatusCode::PERMANENT_REDIRECT, "");
    set(response.headers_mut(), header::LOCATION, location);
    response
}

fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "Not found\n")
}

fn precondition_failed() -> Response {
    text(StatusCode::PRECONDITION_FAILED, "Precondition failed\n")
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The client gets a decision, the log gets the cause.
fn failed(error: &FilesError, request: &Parts) -> Response {
    let id = request.headers.get(REQUEST_ID);
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or("-");
    let away = error.is_passing();
    tracing::error!(error = %chain(error), id, "a file cannot be sent");
    let (status, word) = if away {
        (StatusCode::SERVICE_UNAVAILABLE, "Temporarily unavailable")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "internal")
    };
    let body = serde_json::json!({ "error": word, "id": id }).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if away {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    response
}

fn boundary(hash: &str) -> [u8; 16] {
    let mut boundary = [0; 16];
    // Our own hexadecimal text of this length.
    hex::decode_to_slice(hash, &mut boundary).unwrap_or_default();
    boundary
}

/// Which of the readers reads files of this name.
fn stripe(name: &str) -> usize {
    let sum = name.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    sum % READERS
}
