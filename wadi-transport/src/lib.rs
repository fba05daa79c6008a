//! Carries WADI's messages between nodes. It does not know what a session is.
