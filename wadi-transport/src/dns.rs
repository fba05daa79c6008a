//! Finding other nodes by a name: every address behind it is one that may be asked.

use std::io;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use wadi_core::transport::{Discovering, Discovery, NotDiscovered};

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

    /// Each address behind the name as `host:port`, once, in order. Asks the system's resolver each
    /// time. Safe to drop.
    ///
    /// # Errors
    ///
    /// What the resolver says, that the name has no address, or that it took over 5 s.
    pub async fn look_up(&self) -> io::Result<Vec<String>> {
        let found = timeout(LIMIT, lookup_host((self.name.as_str(), self.port))).await??;
        let mut found: Vec<_> = found.collect();
        if found.is_empty() {
            let told = "the name has no address";
            return Err(io::Error::new(io::ErrorKind::NotFound, told));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found.iter().map(ToString::to_string).collect())
    }
}

impl Discovery for Dns {
    fn addresses(&self) -> Discovering<'_> {
        Box::pin(async {
            let name = &self.name;
            let failed = |cause| NotDiscovered(format!("{name:?} cannot be looked up: {cause}"));
            self.look_up().await.map_err(failed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_its_addresses_once_and_with_the_port() {
        let found = Dns::new("localhost", 7000).addresses().await.unwrap();
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
        let why = nobody.addresses().await.unwrap_err().to_string();
        assert!(why.contains("nobody.invalid"), "{why}");
    }
}
