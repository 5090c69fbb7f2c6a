//! When a certificate is renewed, and the outcome of a run.

/// Days left below which a certificate is renewed: the timer has a month of chances before anybody is warned.
pub(super) const DAYS: u64 = 60;

/// The outcome of one run of the renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalOutcome {
    /// Nothing ends soon.
    NotDue,
    /// The master was asked for kube-proxy's certificate; a later run takes it.
    Requested,
    /// What ended soon was renewed.
    Renewed,
}

impl std::fmt::Display for RenewalOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotDue => "nothing ends soon",
            Self::Requested => "asked the master for kube-proxy's certificate; the timer takes it",
            Self::Renewed => "renewed",
        })
    }
}
