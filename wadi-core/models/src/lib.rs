//! Exhaustive models of the safety rules.
