//! Certificates in the metrics: read from what is in force at the moment of the scrape.

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::certificates::Certificates;

#[derive(Debug)]
pub struct Report(pub Certificates);

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let standing = self.0.standing();
        if standing.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "tls_certificate_expiry_timestamp_seconds",
            "When the certificate of a host expires, Unix time; 0 without a certificate",
            None,
            MetricType::Gauge,
        )?;
        for name in standing {
            let expires = name.expires.map_or(0, Timestamp::as_second);
            let labels = [("host", name.name.as_str())];
            let of_name = family.encode_family(&labels)?;
            ConstGauge::new(expires).encode(of_name)?;
        }
        Ok(())
    }
}
