//! One upstream: its places, its connections, its health. It outlives a reload that leaves it as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::dial::{Connection, Dialer, RootsError, Wanted};
use super::failure::Failure;
use super::health::Health;
use super::measure::Measures;
use super::pool::Pool;
use crate::config::proxy::{HealthCheck, Proxy, Scheme, UpstreamUrl};
use crate::tasks::Tasks;

/// All that makes an upstream what it is: routes that agree in it share connections and health.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub url: UpstreamUrl,
    ca_file: Option<PathBuf>,
    max_header_bytes: usize,
    connect_timeout_seconds: u64,
    max_requests: usize,
    max_waiting: usize,
    max_idle: usize,
    keep_idle_seconds: u64,
    max_failures: u32,
    eject_seconds: u64,
    pub health: Option<HealthCheck>,
}

pub struct Upstream {
    pub identity: Identity,
    /// What Host or `:authority` says.
    pub authority: Authority,
    pub host: HeaderValue,
    pub origin: HeaderValue,
    pub health: Health,
    pub measures: Measures,
    dialer: Dialer,
    pool: Pool,
    places: Semaphore,
    waiting: AtomicUsize,
    /// As far as is known, it speaks only HTTP/1.1.
    only_h1: AtomicBool,
}

/// One of the requests that an upstream gets at the same time.
pub struct Place(Arc<Upstream>);

/// A place with a connection.
pub struct Lease {
    pub connection: Connection,
    pub place: Place,
}

impl Identity {
    pub fn of(url: &UpstreamUrl, proxy: &Proxy) -> Identity {
        Identity {
            url: url.clone(),
            ca_file: proxy.ca_file.clone(),
            max_header_bytes: proxy.max_header_bytes,
            connect_timeout_seconds: proxy.connect_timeout_seconds,
            max_requests: proxy.max_requests,
            max_waiting: proxy.max_waiting,
            max_idle: proxy.max_idle,
            keep_idle_seconds: proxy.keep_idle_seconds,
            max_failures: proxy.max_failures,
            eject_seconds: proxy.eject_seconds,
            health: proxy.health.clone(),
        }
    }
}

impl Upstream {
    pub fn new(
        identity: Identity,
        measures: Measures,
        tasks: &Tasks,
    ) -> Result<Upstream, RootsError> {
        let url = &identity.url;
        let unnamed = || RootsError::Name(url.host().to_owned());
        let authority = url.authority();
        let origin = format!("{}://{authority}", url.scheme().name());
        let threshold = identity.health.as_ref().map_or(1, |check| check.threshold);
        let eject = Duration::from_secs(identity.eject_seconds);
        measures.healthy.set(1);
        let ca_file = identity.ca_file.as_deref();
        Ok(Upstream {
            host: HeaderValue::try_from(&authority).map_err(|_| unnamed())?,
            origin: HeaderValue::try_from(origin).map_err(|_| unnamed())?,
            authority: Authority::try_from(authority).map_err(|_| unnamed())?,
            health: Health::new(identity.max_failures, eject, threshold),
            measures,
            dialer: Dialer::new(url, ca_file, identity.max_header_bytes, tasks)?,
            pool: Pool::new(identity.max_idle),
            places: Semaphore::new(identity.max_requests),
            waiting: AtomicUsize::new(0),
            only_h1: AtomicBool::new(url.scheme() == Scheme::Http),
            identity,
        })
    }

    /// Requests and tunnels that it has now.
    pub fn in_flight(&self) -> usize {
        self.identity.max_requests - self.places.available_permits()
    }

    /// A place and a connection for one request. `fresh`: a connection that carried none before.
    pub async fn lease(
        self: &Arc<Upstream>,
        wanted: Wanted,
        fresh: bool,
    ) -> Result<Lease, Failure> {
        let place = match self.places.try_acquire() {
            Ok(permit) => {
                permit.forget();
                Some(Place(self.clone()))
            }
            Err(_) => None,
        };
        match place {
            // The usual case needs no timer.
            Some(place) if !fresh => match self.kept(wanted) {
                Some(connection) => Ok(Lease { connection, place }),
                None => self.open(place, wanted, fresh, self.latest()).await,
            },
            Some(place) => self.open(place, wanted, fresh, self.latest()).await,
            None => {
                let latest = self.latest();
                let place = self.wait(latest).await?;
                self.open(place, wanted, fresh, latest).await
            }
        }
    }

    fn latest(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.identity.connect_timeout_seconds)
    }

    async fn wait(self: &Arc<Upstream>, latest: Instant) -> Result<Place, Failure> {
        let _waiting = Waiting::begin(&self.waiting, self.identity.max_waiting)?;
        match timeout_at(latest, self.places.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(Place(self.clone()))
            }
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Failure::Full),
        }
    }

    fn kept(&self, wanted: Wanted) -> Option<Connection> {
        if wanted == Wanted::Http1 || self.only_h1.load(Ordering::Relaxed) {
            return self.pool.take_h1().map(Connection::H1);
        }
        let shared = self.pool.share_h2().map(Connection::H2);
        shared.or_else(|| self.pool.take_h1().map(Connection::H1))
    }

    async fn open(
        &self,
        place: Place,
        wanted: Wanted,
        fresh: bool,
        latest: Instant,
    ) -> Result<Lease, Failure> {
        let opened = timeout_at(latest, self.dial_or_share(wanted, fresh)).await;
        match opened {
            Ok(Ok(connection)) => Ok(Lease { connection, place }),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::ConnectTimeout),
        }
    }

    async fn dial_or_share(&self, wanted: Wanted, fresh: bool) -> Result<Connection, Failure> {
        if wanted == Wanted::Http1 || self.only_h1.load(Ordering::Relaxed) {
            return self.dial(wanted).await;
        }
        let _turn = self.pool.opening().await;
        if !fresh && let Some(connection) = self.kept(wanted) {
            return Ok(connection);
        }
        self.dial(wanted).await
    }

    async fn dial(&self, wanted: Wanted) -> Result<Connection, Failure> {
        self.measures.connections.inc();
        let connection = self.dialer.dial(wanted).await.map_err(Failure::Connect)?;
        match &connection {
            Connection::H2(connection) => {
                self.only_h1.store(false, Ordering::Relaxed);
                self.pool.keep_h2(connection);
            }
            Connection::H1(_) if wanted == Wanted::Any => {
                self.only_h1.store(true, Ordering::Relaxed);
            }
            Connection::H1(_) => {}
        }
        Ok(connection)
    }

    /// A connection of its own, outside the pool and the places.
    pub async fn dial_apart(&self) -> Result<Connection, Failure> {
        self.dialer
            .dial(Wanted::Any)
            .await
            .map_err(Failure::Connect)
    }

    /// What has to be done from time to time.
    pub fn sweep(&self) {
        let keep = Duration::from_secs(self.identity.keep_idle_seconds);
        self.pool.sweep(Instant::now(), keep);
        let whole = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.measures.in_flight.set(whole(self.in_flight()));
        self.measures.idle.set(whole(self.pool.idle()));
        let healthy = !self.health.is_down() && !self.health.is_ejected();
        self.measures.healthy.set(i64::from(healthy));
    }
}

impl Place {
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

impl Lease {
    /// The answer is through: the connection may serve again, for as long as the upstream said it would wait.
    pub fn keep(self, patience: Option<Duration>) {
        let Connection::H1(connection) = self.connection else {
            return;
        };
        if connection.is_ready() {
            let upstream = self.place.upstream();
            let keep = Duration::from_secs(upstream.identity.keep_idle_seconds);
            let keep = patience.map_or(keep, |patience| keep.min(patience));
            upstream.pool.give_h1(connection, Instant::now() + keep);
        }
    }
}

/// One of those who wait for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(count: &AtomicUsize, most: usize) -> Result<Waiting<'_>, Failure> {
        let waiting = Waiting(count);
        if count.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Failure::Full);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
