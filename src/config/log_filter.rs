//! Which events are logged.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// One piece of a filter that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is neither a level (off, error, warn, info, debug, trace) nor a part of the program with one"
)]
pub struct LogFilterError(String);

/// A level for everything and levels by part, separated by commas: `info,seance::store=debug`. A part without a level
/// is logged whole. `Targets` reads the same, but takes what is misspelt for the name of a part.
///
/// # Errors
/// Names the piece that is neither.
pub fn log_filter(text: &str) -> Result<Targets, LogFilterError> {
    // The client library of the signaling bus reports each attempt to connect as an error; the bus itself says once what
    // matters of that.
    let mut filter = Targets::new().with_target("async_nats", LevelFilter::OFF);
    let pieces = text.split(',').map(str::trim);
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let wrong = || LogFilterError(piece.to_owned());
        let level = |text: &str| match text {
            "" => Err(wrong()),
            text => text.parse::<LevelFilter>().map_err(|_| wrong()), // which says no more than that it is none
        };
        filter = match piece.split_once('=') {
            Some((part, text)) if is_part(part) => filter.with_target(part, level(text)?),
            None if let Ok(level) = level(piece) => filter.with_default(level),
            None if is_part(piece) => filter.with_target(piece, LevelFilter::TRACE),
            _ => return Err(wrong()),
        };
    }
    Ok(filter)
}

fn is_part(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_those_of_the_longest_part() {
        let filter = log_filter("warn, seance::store=debug,seance::edge,").expect("a filter");
        for (target, level, enabled) in [
            ("seance::daemon", Level::WARN, true),
            ("seance::daemon", Level::INFO, false),
            ("seance::store::s3", Level::DEBUG, true),
            ("seance::store::s3", Level::TRACE, false),
            ("seance::edge::pace", Level::TRACE, true),
            ("async_nats::connector", Level::ERROR, false),
        ] {
            assert_eq!(
                filter.would_enable(target, &level),
                enabled,
                "{target} {level}"
            );
        }
        let loud = log_filter("info,async_nats=debug").expect("a filter");
        assert!(loud.would_enable("async_nats", &Level::DEBUG));
    }

    #[test]
    fn what_is_no_filter_is_named() {
        for wrong in [
            "a=b=c",
            "seance=",
            "=info",
            "seance[span]=debug",
            "info;seance=debug",
        ] {
            let error = log_filter(&format!("info,{wrong}")).expect_err(wrong);
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
