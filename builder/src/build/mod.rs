//! From recipes and a lock to outputs in the store: plans, the order of their steps, and how each kind is made.

pub mod executor;
pub mod intermediates;
pub mod planner;
pub mod steps;
