//! Names whose addresses are those of nodes, as a node looks them up.

use wadi_core::transport::{Discovering, Discovery, NotDiscovered};

use crate::dns::Dns;

/// The nodes behind some names; each name is looked up anew each time.
#[derive(Debug)]
pub(super) struct Names(pub(super) Vec<String>);

impl Names {
    async fn look_up(&self) -> Result<Vec<String>, NotDiscovered> {
        let mut found = Vec::new();
        for name in &self.0 {
            let not_a_name = || NotDiscovered(format!("{name:?} is no name with a port"));
            let (host, port) = name.rsplit_once(':').ok_or_else(not_a_name)?;
            let port = port.parse().map_err(|_| not_a_name())?;
            let behind = Dns::new(host, port).look_up().await;
            let failed = |cause| NotDiscovered(format!("{name:?} cannot be looked up: {cause}"));
            found.extend(behind.map_err(failed)?);
        }
        if found.is_empty() {
            let names = self.0.join(", ");
            return Err(NotDiscovered(format!("there is no address behind {names}")));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

impl Discovery for Names {
    fn addresses(&self) -> Discovering<'_> {
        Box::pin(self.look_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_behind_the_names_is_found_once() {
        let names = Names(vec!["127.0.0.1:7".into(), "127.0.0.1:7".into()]);
        assert_eq!(names.addresses().await.unwrap(), ["127.0.0.1:7"]);
        let names = Names(vec!["127.0.0.1".into()]);
        let why = names.addresses().await.unwrap_err().to_string();
        assert!(why.contains("no name with a port"), "{why}");
    }
}
