//! The command: its arguments, messages, tables and exit statuses.
//!
//! Converts nothing itself.

mod args;
mod extcap;
mod generate;
mod json;
mod live;
mod progress_bar;
mod report;
pub(crate) mod run;
mod table;
mod usage;
mod viewer;
