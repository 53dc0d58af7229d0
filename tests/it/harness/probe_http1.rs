//! HTTP/1.1 as an attacker writes it: what is sent, and what has to be answered.

use super::probe::{Entrance, ROUTES, Target, exchange};
use super::upstream::Received;

/// What a probe is answered. The connection ends in any case.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// This status, and nothing else.
    Only(u16),
    /// Any error, and nothing else: routes that do not read bodies do not see what is wrong with one.
    Refusal,
    /// So many answers that are no errors.
    Answers(usize),
}

/// A request within what another reader may take for a body.
const INNER: &str = "GET PATHsmuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";

/// Sends every probe to every route by every entrance. `PATH` and `HOST` in it are those of the route, `INNER` a smuggled
/// request.
pub fn probe(front: &str, table: &[(&str, &str, Wanted)]) {
    // One that is not refused, but waited for or kept, is to be seen soon.
    let target = Target::start("idle_timeout_seconds = 1\nheader_timeout_seconds = 5");
    let entrances = target.entrances("http/1.1");
    let mut wrong = Vec::new();
    for (name, probe, wanted) in table {
        for entrance in &entrances {
            for route in ROUTES {
                let text = format!("{front}{probe}").replace("INNER", INNER);
                let text = text.replace("PATH", route).replace("HOST", entrance.host);
                let judged = judge(&target, entrance, &text, *wanted);
                if let Err(seen) = judged {
                    wrong.push(format!(
                        "{name} ({}{route}): wanted {wanted:?}; {seen}",
                        entrance.host
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    target.assert_serves("all probes");
}

fn judge(target: &Target, entrance: &Entrance, text: &str, wanted: Wanted) -> Result<(), String> {
    target.passed_on();
    let answer = exchange(entrance.connect(), text.as_bytes());
    let answer = String::from_utf8_lossy(&answer);
    let statuses = answer.split("HTTP/1.1 ").skip(1);
    let statuses: Vec<u16> = statuses
        .filter_map(|one| one.get(..3)?.parse().ok())
        .collect();
    let passed_on = target.passed_on();
    let lines: Vec<&str> = passed_on.iter().map(Received::line).collect();
    let fine = match wanted {
        Wanted::Only(status) => statuses == [status] && lines.is_empty(),
        Wanted::Refusal => matches!(statuses[..], [400..=499]) && lines.is_empty(),
        Wanted::Answers(count) => {
            let good = statuses.iter().filter(|status| **status < 400).count();
            good == count && (lines.is_empty() || lines.len() == count)
        }
    };
    match fine {
        true => Ok(()),
        false => Err(format!("answered {statuses:?}, passed on: {lines:?}")),
    }
}
