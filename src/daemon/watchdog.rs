//! The watchdog ping is earned: by a request that the daemon makes to itself, through a listener, a worker and the
//! router. A timer alone would go on pinging while every worker is stuck.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cause::chain;
use crate::systemd;
use crate::tasks::{self, Tasks};

pub fn start(tasks: &Tasks, interval: Option<Duration>, address: SocketAddr) {
    let Some(interval) = interval else { return };
    // More often than the half that sd_watchdog_enabled(3) advises: one lost probe is no reason to die.
    let every = interval / 4;
    let until_end = tasks.clone();
    tasks.spawn("watchdog", async move {
        while !until_end.is_cancelled() {
            match tokio::time::timeout(every, probe(address)).await {
                Ok(Ok(true)) => {
                    if let Err(error) = systemd::watchdog_ping() {
                        tracing::error!(
                            error = %chain(&error),
                            "cannot ping the watchdog"
                        );
                    }
                }
                Ok(Ok(false)) => {
                    tracing::error!("the daemon does not answer its own probe as it should")
                }
                Ok(Err(error)) => {
                    tracing::error!(error = %chain(&error), "the daemon cannot reach itself")
                }
                Err(_) => tracing::error!(
                    seconds = every.as_secs_f64(),
                    "the daemon did not answer its own probe in time"
                ),
            }
            tokio::select! {
                () = tasks::pause(every) => {}
                () = until_end.cancelled() => {}
            }
        }
    });
}

async fn probe(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(&head == b"HTTP/1.1 200")
}
