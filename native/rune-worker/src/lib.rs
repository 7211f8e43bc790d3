//! Runs Rune scripts for a host process. The README describes the protocol.

#![forbid(unsafe_code)]

pub mod attributes;
pub mod calls;
pub mod desk;
pub mod failures;
pub mod frames;
pub mod host;
pub mod inbox;
pub mod inspect;
pub mod jail;
pub mod lexer;
pub mod messages;
pub mod outline;
pub mod paths;
pub mod repair;
pub mod run;
pub mod seeds;
pub mod slips;
pub mod text;
pub mod units;
pub mod values;
pub mod watch;
pub mod worker;

/// The version of the protocol.
pub const PROTOCOL: u64 = 1;

/// The version of this worker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Rune, as Cargo.toml has it.
pub const RUNE_VERSION: &str = "0.14.2";
