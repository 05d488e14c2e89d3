//! What the trigger types themselves count.
//!
//! Invariant: a name stands once, with all its values behind it.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use crate::trigger::Gauge;

/// The numbers of all trigger types.
#[derive(Debug)]
pub struct SourceGauges(pub Vec<Gauge>);

impl Collector for SourceGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut by_name: BTreeMap<&str, Vec<&Gauge>> = BTreeMap::new();
        for gauge in &self.0 {
            by_name.entry(gauge.name).or_default().push(gauge);
        }
        for (name, gauges) in by_name {
            let help = gauges[0].help;
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for gauge in gauges {
                metric.encode_family(&gauge.labels)?.encode_gauge(&gauge.value)?;
            }
        }
        Ok(())
    }
}
