//! Leaving, also of who leads, of the last but one, and of everybody at once.
