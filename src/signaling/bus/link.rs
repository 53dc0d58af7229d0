//! The connection to NATS: found, used, lost and found again.
//!
//! Reconnecting is done here and not by the client library, which would keep what could not be sent and send it when
//! it is stale. One wildcard subscription serves all topics; a node publishes under a subject of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{Client, ConnectOptions, Event, Subject, Subscriber};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Room;
use crate::cause::chain;
use crate::config::{Nats, NatsLogin, SecretError};
use crate::signaling::lock;
use crate::systemd;
use crate::tasks::pause;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Commands on their way to the client library's own task.
const CLIENT_QUEUE: usize = 64;
/// How long a node that goes may take to say so.
const BYE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot read a secret of the bus")]
    Secret(#[from] SecretError),
    #[error("cannot connect to NATS")]
    Connect(#[from] async_nats::ConnectError),
    #[error("cannot subscribe at NATS")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("the connection to NATS ended")]
    Lost,
}

pub struct Link {
    room: Arc<Mutex<Room>>,
    settings: Nats,
    login: NatsLogin,
    /// Where this node publishes, and where all do.
    subject: Subject,
    everywhere: Subject,
    /// Part of each pause that is cut off, so that nodes do not all come back at once: 0 to 255.
    jitter: u8,
    waiting: Arc<tokio::sync::Notify>,
}

struct Session {
    client: Client,
    subscriber: Subscriber,
    lost: CancellationToken,
}

impl Link {
    /// None when the room has no bus.
    pub fn new(room: &Arc<Mutex<Room>>, settings: &Nats, login: &NatsLogin) -> Option<Link> {
        let locked = lock(room);
        let bus = locked.bus.as_ref()?;
        let node = hex::encode(bus.node);
        Some(Link {
            room: room.clone(),
            settings: settings.clone(),
            login: login.clone(),
            subject: format!("{}.{node}", settings.subject_prefix).into(),
            everywhere: format!("{}.*", settings.subject_prefix).into(),
            jitter: bus.node[15],
            waiting: bus.waiting.clone(),
        })
    }

    /// Runs until `end` and takes its leave; a bus that cannot be reached is looked for again and again.
    pub async fn run(self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        let most = Duration::from_millis(self.settings.reconnect_milliseconds);
        let mut trouble = false;
        let mut wait = FIRST_PAUSE;
        loop {
            let connected = tokio::select! {
                () = &mut end => return,
                connected = self.connect() => connected,
            };
            let error = match connected {
                Ok(mut session) => {
                    tell_found(trouble);
                    (trouble, wait) = (false, FIRST_PAUSE);
                    let error = tokio::select! {
                        () = &mut end => return self.leave(&session.client).await,
                        error = self.exchange(&mut session) => error,
                    };
                    lock(&self.room).bus_lost();
                    error
                }
                Err(error) => error,
            };
            if std::mem::replace(&mut trouble, true) {
                tracing::debug!(error = %chain(&error), "the signaling bus is still gone");
            } else {
                tracing::warn!(
                    message_id = systemd::message::BUS_LOST,
                    error = %chain(&error),
                    "the signaling bus is gone: peers meet those of this node only"
                );
            }
            let spread = 1.0 - f32::from(self.jitter) / 512.0;
            tokio::select! {
                () = &mut end => return,
                () = pause(wait.min(most).mul_f32(spread)) => {}
            }
            wait = (2 * wait).min(most);
        }
    }

    async fn connect(&self) -> Result<Session, LinkError> {
        let heartbeat = Duration::from_secs(self.settings.heartbeat_seconds);
        let lost = CancellationToken::new();
        let ended = lost.clone();
        let mut options = ConnectOptions::new()
            .name("seance")
            .no_echo()
            .connection_timeout(Duration::from_secs(self.settings.connect_timeout_seconds))
            .ping_interval(heartbeat)
            .subscription_capacity(self.settings.max_incoming_messages)
            .client_capacity(CLIENT_QUEUE)
            // Each server once, then it gives up.
            .max_reconnects(self.settings.urls.len())
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    ended.cancel();
                }
                std::future::ready(())
            });
        // Read each time, so that a rotated secret is followed.
        options = match &self.login {
            NatsLogin::Anonymous => options,
            NatsLogin::Token(token) => options.token(token.read()?.expose().to_owned()),
            NatsLogin::User(user, password) => {
                let password = password.read()?.expose().to_owned();
                options.user_and_password(user.clone(), password)
            }
        };
        if let Some(authorities) = &self.settings.tls_ca_file {
            options = options.add_root_certificates(authorities.clone());
        }
        let client = options.connect(&self.settings.urls).await?;
        // Before anybody is asked for anything: answers must find it.
        let subscriber = client.subscribe(self.everywhere.clone()).await?;
        Ok(Session {
            client,
            subscriber,
            lost,
        })
    }

    /// Passes on in both directions until the connection is lost.
    async fn exchange(&self, session: &mut Session) -> LinkError {
        lock(&self.room).bus_connected();
        let Session {
            client,
            subscriber,
            lost,
        } = session;
        tokio::select! {
            () = lost.cancelled() => LinkError::Lost,
            () = self.receive(subscriber) => LinkError::Lost,
            () = self.send(client) => LinkError::Lost,
            () = self.beat() => LinkError::Lost,
        }
    }

    async fn receive(&self, subscriber: &mut Subscriber) {
        while let Some(message) = subscriber.next().await {
            lock(&self.room).bus_receive(&message.payload);
        }
    }

    /// Sends what waits; while NATS takes nothing, what comes meanwhile stays in the bounded queue.
    async fn send(&self, client: &Client) {
        loop {
            self.waiting.notified().await;
            let batch = lock(&self.room).bus_take();
            for envelope in batch {
                let sent = client.publish(self.subject.clone(), envelope.into()).await;
                match sent.map_err(|error| error.kind()) {
                    Ok(()) => {}
                    Err(PublishErrorKind::MaxPayloadExceeded) => {
                        lock(&self.room).bus_too_large();
                    }
                    Err(_) => return,
                }
            }
            lock(&self.room).bus_sent();
        }
    }

    async fn beat(&self) {
        let mut interval =
            tokio::time::interval(Duration::from_secs(self.settings.heartbeat_seconds));
        loop {
            interval.tick().await;
            lock(&self.room).bus_heartbeat();
        }
    }

    /// Tells the other nodes at once that nobody is here any more.
    async fn leave(&self, client: &Client) {
        let Some(bye) = lock(&self.room).bus_bye() else {
            return;
        };
        let said = async {
            client
                .publish(self.subject.clone(), bye.into())
                .await
                .is_ok()
                && client.flush().await.is_ok()
        };
        if !tokio::time::timeout(BYE, said).await.unwrap_or(false) {
            tracing::debug!("the other nodes will find out by themselves that this one is gone");
        }
    }
}

fn tell_found(again: bool) {
    if again {
        let message_id = systemd::message::BUS_FOUND;
        tracing::info!(message_id, "the signaling bus is back");
    } else {
        tracing::info!("the signaling bus is there");
    }
}
