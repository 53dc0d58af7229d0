//! What a scraper reads is OpenMetrics 1.0, and failures of its listener are JSON.

use std::collections::{HashMap, HashSet};

use crate::harness::http::{get, request};
use crate::harness::{Builder, Daemon};

fn scraped(daemon: &Daemon) -> String {
    let answer = get(daemon.metrics.expect("metrics"), "/metrics");
    assert_eq!(answer.status, 200);
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    answer.text()
}

/// The rules of the text format that scrapers insist on; gives the types of the families.
#[track_caller]
fn parsed(text: &str) -> HashMap<&str, &str> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut samples: HashSet<&str> = HashSet::new();
    let mut current = "";
    for line in body.lines() {
        assert_ne!(line, "# EOF", "an end in the middle");
        if let Some(described) = line.strip_prefix("# ") {
            let mut words = described.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next());
            let (name, rest) = (name.expect("a name"), rest.expect("a value"));
            match what {
                Some("TYPE") => {
                    assert!(types.insert(name, rest).is_none(), "twice: {line}");
                }
                Some("HELP" | "UNIT") => {}
                _ => panic!("neither HELP, TYPE nor UNIT: {line}"),
            }
            assert!(
                name == current || !samples.iter().any(|s| family(s, &types) == name),
                "described after its samples, or in two places: {line}"
            );
            current = name;
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        value.parse::<f64>().expect("a number");
        assert_eq!(family(sample, &types), current, "not in its family: {line}");
        assert!(samples.insert(sample), "twice: {line}");
    }
    for sample in &samples {
        let Some((name, labels)) = sample.split_once("_bucket{") else {
            continue;
        };
        let others = labels.split(',').filter(|label| !label.starts_with("le="));
        let others: Vec<&str> = others.map(|label| label.trim_end_matches('}')).collect();
        let last = samples.iter().any(|s| {
            s.starts_with(&format!("{name}_bucket{{"))
                && s.contains("le=\"+Inf\"")
                && others.iter().all(|label| s.contains(label))
        });
        assert!(last, "no bucket for the rest: {sample}");
    }
    types
}

/// The family of a sample, without what its type appends to the name.
fn family<'a>(sample: &'a str, types: &HashMap<&str, &str>) -> &'a str {
    let name = sample.split('{').next().unwrap_or(sample);
    let suffixes = ["_total", "_created", "_bucket", "_sum", "_count", "_info"];
    let stems = suffixes.iter().filter_map(|end| name.strip_suffix(end));
    stems
        .into_iter()
        .find(|stem| types.contains_key(stem))
        .unwrap_or(name)
}

#[test]
fn the_metrics_are_openmetrics_with_every_family_once() {
    let daemon = Builder::new().start();
    get(daemon.http, "/health/live");
    get(daemon.http, "/nowhere");
    scraped(&daemon);
    let text = scraped(&daemon);
    let types = parsed(&text);
    for (name, of) in [
        ("seance_http_requests", "counter"),
        ("seance_http_request_duration_seconds", "histogram"),
        ("seance_http_connections", "gauge"),
        ("seance_signaling_fanout_seconds", "histogram"),
    ] {
        assert_eq!(types.get(name), Some(&of), "{name}:\n{text}");
    }
    for sample in [
        "seance_http_requests_total{listener=\"http\",status=\"200\"} 1",
        "seance_http_requests_total{listener=\"http\",status=\"404\"} 1",
        "seance_http_requests_total{listener=\"metrics\",status=\"200\"} 1",
        "seance_http_request_duration_seconds_count{listener=\"http\"} 2",
        "seance_signaling_fanout_seconds_bucket{le=\"+Inf\"} 0",
    ] {
        assert!(
            text.lines().any(|line| line == sample),
            "{sample} in\n{text}"
        );
    }
}

#[test]
fn failures_of_the_metrics_listener_have_a_body() {
    let daemon = Builder::new().start();
    for (method, path, status, error) in [
        ("GET", "/", 404, "Not found"),
        ("POST", "/metrics", 405, "Method not allowed"),
    ] {
        let answer = request(daemon.metrics.expect("metrics"), method, path, &[], b"");
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["error"], error);
        assert_eq!(
            answer.json()["id"].as_str(),
            answer.header("x-request-id"),
            "{}",
            answer.text()
        );
    }
}
