//! This machine: its files, the checkout, the compiler, the user's key, the sandbox.

pub mod atomic;
pub mod cargo;
pub mod checkout;
pub mod overwrite;
pub mod sandbox;
pub(crate) mod scratch;
pub mod signing_key;
