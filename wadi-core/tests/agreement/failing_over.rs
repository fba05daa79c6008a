//! A leader that dies: the others' leases outlast it.
