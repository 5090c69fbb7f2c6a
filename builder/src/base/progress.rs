//! How far a piece of work is, told to whoever shows it.

/// Hears how far a piece of work is; threads share it.
pub trait Progress: Sync {
    /// There is more to do than was known.
    fn expect(&self, more: u64);
    /// What is being done now.
    fn name(&self, what: &str);
    /// So much more is done.
    fn advance(&self, count: u64);
    /// So much was in vain and must be done again.
    fn retreat(&self, count: u64);
    /// A line that people should read.
    fn log(&self, line: &str);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn expect(&self, _: u64) {}
    fn name(&self, _: &str) {}
    fn advance(&self, _: u64) {}
    fn retreat(&self, _: u64) {}
    fn log(&self, _: &str) {}
}
