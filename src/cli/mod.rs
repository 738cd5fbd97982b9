//! The command: what a person types and reads.
//!
//! It owns arguments, messages, tables and exit statuses. It makes no capture itself.

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
mod warning_groups;
