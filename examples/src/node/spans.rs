//! How long requests are in WADI's own spans: asking where a session is, having it come, being proxied,
//! waiting for a confirmation. What a request waits for besides its handler shows here.

use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use wadi_core::clock::{BootClock, Clock, Moment};

/// WADI's spans have names that begin so.
const OURS: &str = "wadi.";

/// Records the length of each of them as `node_span_seconds`, by its name.
#[derive(Debug)]
pub struct SpanTimes;

struct Began(Moment);

impl<S> Layer<S> for SpanTimes
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name().starts_with(OURS)
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(Began(BootClock.now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        if let Some(Began(began)) = span.extensions().get() {
            let lasted = BootClock.now().since(*began);
            metrics::histogram!("node_span_seconds", "span" => span.name()).record(lasted);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::node::metrics::recorder;

    #[test]
    fn our_spans_are_timed_and_others_are_not() {
        let recorder = recorder();
        let subscriber = tracing_subscriber::registry().with(SpanTimes);
        tracing::subscriber::with_default(subscriber, || {
            drop(tracing::info_span!("wadi.test"));
            drop(tracing::info_span!("another"));
        });
        let told = recorder.render();
        let count = r#"node_span_seconds_count{span="wadi.test"} 1"#;
        assert!(told.contains(count), "{told}");
        assert!(!told.contains("another"), "{told}");
    }
}
