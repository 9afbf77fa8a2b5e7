//! The counters of all shards in Prometheus' text form (OpenMetrics 1.0).

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Described, Gauge, Histogram, ShardMetrics, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::Status;

/// All metrics, each with a `shard` label.
pub fn render(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("corelog");
    let build = Info::new(vec![("version", status.version), ("io_backend", status.backend)]);
    registry.register("build", "The release and the I/O backend in use", build);
    registry.register_collector(Box::new(Shards { shards: status.shards.clone() }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Shards {
    shards: Vec<std::sync::Arc<ShardMetrics>>,
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let described: Vec<Vec<Described<'_>>> = self.shards.iter().map(|shard| shard.describe()).collect();
        let Some(first) = described.first() else { return Ok(()) };
        for (at, metric) in first.iter().enumerate() {
            // The encoder adds the suffix that OpenMetrics wants of counters.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let help = metric.help.trim_end_matches('.');
            let mut family = encoder.encode_descriptor(name, help, None, kind(&metric.value))?;
            for (shard, values) in described.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                encode_value(family.encode_family(&labels)?, &values[at].value)?;
            }
        }
        Ok(())
    }
}

fn kind(value: &Value<'_>) -> MetricType {
    match value {
        Value::Counter(_) => MetricType::Counter,
        Value::Gauge(_) => MetricType::Gauge,
        Value::Histogram(_) => MetricType::Histogram,
    }
}

fn encode_value(encoder: MetricEncoder<'_>, value: &Value<'_>) -> fmt::Result {
    match value {
        Value::Counter(counter) => encode_counter(encoder, counter),
        Value::Gauge(gauge) => encode_gauge(encoder, gauge),
        Value::Histogram(histogram) => encode_histogram(encoder, histogram),
    }
}

fn encode_counter(mut encoder: MetricEncoder<'_>, counter: &Counter) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)
}

fn encode_gauge(mut encoder: MetricEncoder<'_>, gauge: &Gauge) -> fmt::Result {
    encoder.encode_gauge(&gauge.get())
}

fn encode_histogram(mut encoder: MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let snapshot = histogram.snapshot();
    let seconds = |bound: Option<Duration>| bound.map_or(f64::MAX, |bound| bound.as_secs_f64());
    let buckets: Vec<(f64, u64)> = snapshot.buckets.iter().map(|(bound, count)| (seconds(*bound), *count)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(snapshot.sum.as_secs_f64(), count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_kind_of_metric_is_shown_for_each_shard() {
        let shards = vec![Arc::new(ShardMetrics::default()), Arc::new(ShardMetrics::default())];
        shards[1].requests_total.add(3);
        shards[0].connections.set(7);
        shards[0].turn_latency.record(Duration::from_micros(3));
        let text = render(&Status::new("ring", "0.1.0", shards)).expect("a String takes everything");
        for line in [
            "corelog_requests_total{shard=\"0\"} 0",
            "corelog_requests_total{shard=\"1\"} 3",
            "corelog_connections{shard=\"0\"} 7",
            "corelog_turn_latency_bucket{le=\"0.000004\",shard=\"0\"} 1",
            "corelog_turn_latency_bucket{le=\"+Inf\",shard=\"0\"} 1",
            "corelog_turn_latency_count{shard=\"0\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        }
    }
}
