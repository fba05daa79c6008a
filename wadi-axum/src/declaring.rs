//! An operator's word that a member's process has ended.
//!
//! It decides nothing: it finds out who is meant, and has the node ask the cluster.

use wadi_core::bucket::Layout;
use wadi_core::member::Incarnation;
use wadi_core::node::NotDeclaredDead;

use crate::WadiLayer;

/// Why nobody was declared dead. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareDeadError {
    /// This node has no cluster, or knows no members yet.
    #[error("this node is alone, or knows no other members yet")]
    Alone,
    /// Nobody is called so.
    #[error("no member is called {0:?}; GET /wadi/cluster lists them")]
    Nobody(String),
    /// Several members have this name: earlier starts of one node, of which all but the last have ended.
    #[error("several members are called so: say which, by its number ({})", numbers(.0))]
    Several(Vec<Incarnation>),
    /// The node says no.
    #[error(transparent)]
    Refused(#[from] NotDeclaredDead),
}

impl WadiLayer {
    /// Has the cluster go on at once without a member whose process has ended, by your word, instead of
    /// when its lease has run out; what it held is lost. `member` is its name, or the number of its
    /// incarnation. Returns who was meant, when the cluster is being asked.
    ///
    /// **Only for a process that is certain not to run any more.** One that runs on acknowledges writes
    /// that are lost, until it hears of it: so a member that this node is connected to takes `force`.
    ///
    /// # Errors
    ///
    /// [`DeclareDeadError`]: nothing changed.
    pub async fn declare_dead(
        &self,
        member: &str,
        force: bool,
    ) -> Result<Incarnation, DeclareDeadError> {
        let cluster = self.cluster().ok_or(DeclareDeadError::Alone)?;
        let node = cluster.node();
        let layout = node.status().layout.ok_or(DeclareDeadError::Alone)?;
        let who = meant(&layout, member)?;
        node.declare_dead(who, force).await?;
        tracing::warn!(?who, force, "declared dead by an operator's word");
        Ok(who)
    }
}

/// Who is meant: a number is an incarnation's, also where a node is called so.
fn meant(layout: &Layout, member: &str) -> Result<Incarnation, DeclareDeadError> {
    let number = member.parse().ok().map(Incarnation::new);
    if let Some(who) = number.filter(|who| layout.is_member(*who)) {
        return Ok(who);
    }
    let members = layout.members.iter();
    let named: Vec<_> = members
        .filter(|(_, named)| named.node.as_str() == member)
        .map(|(who, _)| *who)
        .collect();
    match named.as_slice() {
        [] => Err(DeclareDeadError::Nobody(member.to_owned())),
        [who] => Ok(*who),
        _ => Err(DeclareDeadError::Several(named)),
    }
}

fn numbers(all: &[Incarnation]) -> String {
    let numbers: Vec<_> = all.iter().map(|who| who.get().to_string()).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use wadi_core::authority::{Charter, Register};
    use wadi_core::clock::Moment;
    use wadi_core::member::{Founding, NodeName};

    use super::*;

    #[test]
    fn a_name_means_one_member_and_a_number_its_incarnation() {
        let now = Moment::ZERO;
        let (mut register, first) = Register::found(
            Charter::default(),
            Founding::IN_PROCESS,
            0,
            NodeName::new("n1"),
            String::new(),
            now,
        );
        let mut join = |name| register.join(NodeName::new(name), String::new(), now);
        let [second, again] = [join("n2"), join("n2")].map(|joined| joined.incarnation);
        let layout = register.layout();
        assert_eq!(meant(layout, "n1"), Ok(first.incarnation));
        assert_eq!(meant(layout, "2"), Ok(second));
        let several = DeclareDeadError::Several(vec![second, again]);
        assert_eq!(meant(layout, "n2"), Err(several));
        for nobody in ["n3", "99", ""] {
            let expected = Err(DeclareDeadError::Nobody(nobody.to_owned()));
            assert_eq!(meant(layout, nobody), expected);
        }
    }
}
