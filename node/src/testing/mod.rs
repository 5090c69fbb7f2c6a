#[cfg(test)]
pub(crate) mod fake;
pub mod fuzz;
