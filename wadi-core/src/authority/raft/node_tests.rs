use openraft::raft::InstallSnapshotRequest;
use openraft::{SnapshotMeta, Vote};

use super::*;
use crate::bucket::BucketCount;
use crate::clock::BootClock;
use crate::transport::{Answers, Carrying, NotCarried};

/// Nobody else is there.
#[derive(Debug)]
struct Nowhere;

impl Carrier for Nowhere {
    fn carry<'a>(&'a self, _: &'a str, _: Bytes, _: Duration) -> Carrying<'a> {
        Box::pin(std::future::ready(Err(NotCarried::NotDelivered)))
    }

    fn serve(&self, _: Arc<dyn Answers>) {}
}

#[tokio::test]
async fn a_replica_that_ends_by_itself_says_so_and_holds_nobody_up() {
    let lease = Duration::from_secs(2);
    let settings = RaftSettings {
        node: NodeName::new("n1"),
        address: "n1".to_owned(),
        place: None,
        carrier: Arc::new(Nowhere),
        clock: Arc::new(BootClock),
        lease,
    };
    let charter = Charter {
        buckets: BucketCount::new(16).expect("sixteen is not zero"),
        lease,
        ..Charter::default()
    };
    let founded = RaftAuthority::found(settings, charter, 0).await;
    let (part, joined) = founded.expect("it founds alone");
    // What it cannot read is the end of a replica.
    let broken = InstallSnapshotRequest {
        vote: Vote::new_committed(9, raft_id(joined.incarnation)),
        meta: SnapshotMeta {
            last_log_id: Some(openraft::LogId::new(
                openraft::CommittedLeaderId::new(9, 1),
                99,
            )),
            ..SnapshotMeta::default()
        },
        offset: 0,
        data: vec![0xc1, 2, 3],
        done: true,
    };
    let _ = part.raft.install_snapshot(broken).await;
    let failed = time::timeout(Duration::from_secs(20), part.failed()).await;
    assert!(failed.is_ok(), "it is not known to have failed");
    assert!(part.has_failed());
}
