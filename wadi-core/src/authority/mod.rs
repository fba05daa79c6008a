//! Agreement on members, leases and layouts.
