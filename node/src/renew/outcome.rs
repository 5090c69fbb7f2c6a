//! When a certificate is renewed, and what a run did about it.

/// Renewed when fewer days are left: the timer has a month of chances before anybody is warned.
pub(super) const DAYS: u64 = 60;

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalOutcome {
    /// Nothing ends soon.
    Nothing,
    /// The master was asked for kube-proxy's certificate; a later run takes it.
    Asked,
    /// What ended soon was renewed.
    Renewed,
}

impl std::fmt::Display for RenewalOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing ends soon",
            Self::Asked => "asked the master for kube-proxy's certificate; the timer takes it",
            Self::Renewed => "renewed",
        })
    }
}
