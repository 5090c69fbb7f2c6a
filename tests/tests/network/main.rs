//! What comes from outside: mirrors, registries, an operator's hand; from those that lie, too.

mod fetch;
mod filter;
mod inputs;
mod lock;
mod registry;
mod resolve;
mod tls;
