//! People who use the cluster: who they are to it, and what they may.
//!
//! A person has a name and groups, in a certificate that the cluster's CA has signed; what a group may, a binding of the
//! cluster's says. A certificate cannot be taken back before it ends, a group's rights can.

mod kubeconfig;
mod name;
pub mod rights;

pub use kubeconfig::{DAYS, LONGEST, for_person, hand_out, is_current, make};
pub use name::{Group, PersonName};

#[cfg(test)]
mod tests;
