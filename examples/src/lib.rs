//! Runnable applications.
