//! Finding other nodes by a name: every address behind it is one that may be asked.

use std::io;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long the system's resolver may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A name whose addresses are those of nodes, such as that of a headless service; all of them listen
/// for nodes at one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    name: String,
    port: u16,
}

impl Dns {
    /// The nodes behind this name.
    #[must_use]
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        let name = name.into();
        Self { name, port }
    }

    /// Each address behind the name as `host:port`, once, in order; none while it has none or cannot
    /// be looked up, which the log then says. Asks the system's resolver each time. Safe to drop.
    pub async fn addresses(&self) -> Vec<String> {
        match self.look_up().await {
            Ok(addresses) => addresses,
            Err(cause) => {
                let Self { name, .. } = self;
                tracing::warn!("{name} cannot be looked up now: {cause}");
                Vec::new()
            }
        }
    }

    /// The same, or why there are none.
    ///
    /// # Errors
    ///
    /// What the resolver says, or that it took over 5 s.
    pub async fn look_up(&self) -> io::Result<Vec<String>> {
        let found = timeout(LIMIT, lookup_host((self.name.as_str(), self.port))).await??;
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found.dedup();
        Ok(found.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_its_addresses_once_and_with_the_port() {
        let found = Dns::new("localhost", 7000).addresses().await;
        assert!(found.contains(&"127.0.0.1:7000".to_owned()), "{found:?}");
        let mut once = found.clone();
        once.dedup();
        assert_eq!(once, found);
        let literal = Dns::new("::1", 7000).look_up().await.unwrap();
        assert_eq!(literal, ["[::1]:7000"]);
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_has_no_address() {
        // "invalid" is reserved for names that never are (RFC 6761).
        let nobody = Dns::new("nobody.invalid", 7000);
        assert!(nobody.look_up().await.is_err());
        assert!(nobody.addresses().await.is_empty());
    }
}
