//! Code that the program's tests, its unit tests and its fuzz targets share.
//!
//! Nothing here depends on the program's library: captures, packets and traces are read by separate code, so that
//! a fault of the program cannot hide in its tests.

pub mod fixtures;
pub mod harness;
pub mod judge;
pub mod pcap;
pub mod pdml;
pub mod secrets;
pub mod tree;
