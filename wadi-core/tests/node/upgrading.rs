//! Two versions of one program share a cluster: a session goes from the newer to the older and back, and
//! what the older cannot decode is as it was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wadi_core::session::SessionError;

use crate::world::World;

/// What the newer version writes under a name that the older one uses for a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Basket {
    Empty,
    Full { items: BTreeMap<String, u32> },
}

/// Of the older version; the newer has one field more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OldUser {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NewUser {
    name: String,
    mail: Option<String>,
}

#[tokio::test(start_paused = true)]
async fn what_an_older_node_cannot_decode_it_keeps_and_hands_on() {
    let world = World::of(&["new", "old"]).await;
    let id = world.create("new").await;
    let basket = Basket::Full {
        items: [("apples".to_owned(), 3)].into(),
    };
    let user = NewUser {
        name: "ann".to_owned(),
        mail: Some("ann@example.org".to_owned()),
    };
    let (sent, named) = (basket.clone(), user.clone());
    let written = world.request("new", &id, async |visit| {
        visit.insert("basket", sent)?;
        visit.insert("user", named)
    });
    assert_eq!(written.await, Ok(()));

    for turn in 1..=3_u32 {
        let on_the_older = world.request("old", &id, async |visit| {
            // Its own type for that name: an error of this one attribute.
            let refused = visit.get::<String>("basket");
            assert!(
                matches!(refused, Err(SessionError::Undecodable { .. })),
                "{refused:?}"
            );
            let user = visit.get::<OldUser>("user")?;
            assert_eq!(user.map(|user| user.name).as_deref(), Some("ann"));
            assert_eq!(visit.get::<String>("owner")?.as_deref(), Some("new"));
            // It goes on to use the session.
            visit.update("visits", |visits: &mut u32| *visits += 1)
        });
        assert_eq!(on_the_older.await, Ok(()));
        assert_eq!(world.serving(&id), ["old"]);

        let on_the_newer = world.request("new", &id, async |visit| {
            Ok((
                visit.get::<Basket>("basket")?,
                visit.get::<NewUser>("user")?,
                visit.get::<u32>("visits")?,
            ))
        });
        let expected = (Some(basket.clone()), Some(user.clone()), Some(turn));
        assert_eq!(on_the_newer.await, Ok(expected));
        assert_eq!(world.serving(&id), ["new"]);
    }
}
