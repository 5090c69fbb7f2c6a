//! Retries an operation while it fails transiently, up to a time limit.

use std::time::Duration;

use crate::fault::{Class, Fault, Result};
use crate::kubernetes::context::Node;

/// Pause between two attempts.
const STEP: Duration = Duration::from_secs(5);

/// Repeats a question until it is answered. A transient fault is no answer: a timeout says that a machine is slow, and
/// nothing about what was asked. [`Node::on_wait`] gets each of them.
///
/// `limit` counts the pauses and not the questions: on a machine where each takes long there are as many.
pub fn retry<T>(node: &Node, limit: Duration, question: &dyn Fn() -> Result<T>) -> Result<T> {
    let mut left = limit;
    loop {
        let fault = match question() {
            Err(fault) if fault.class() == Class::Transient => fault,
            decided => return decided,
        };
        let Some(rest) = left.checked_sub(STEP) else {
            return Err(fault.context(format!("not within {limit:?}")));
        };
        left = rest;
        (node.on_wait)(&fault);
        node.host.pause(STEP);
    }
}

/// Repeats a check until it is true; `no` is the message while it is not.
pub fn wait_until(node: &Node, no: &str, limit: Duration, check: &dyn Fn() -> Result<bool>) -> Result<()> {
    retry(node, limit, &|| if check()? { Ok(()) } else { Err(Fault::transient(no)) })
}
