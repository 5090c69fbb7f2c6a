//! How long first boots took, phase by phase, as the bootstrap told it and as the test saw it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The file of times in the folder that `$HALE_CLUSTER` names: a list of `[what, seconds]`.
const FILE: &str = "times.json";

/// Times in their order, in seconds.
#[derive(Debug)]
pub struct Times {
    begun: Instant,
    known: Vec<(String, f64)>,
}

impl Times {
    /// From now on.
    pub fn begin() -> Self {
        Self { begun: Instant::now(), known: Vec::new() }
    }

    /// Something is reached now.
    pub fn reached(&mut self, what: &str) {
        let seconds = self.begun.elapsed();
        self.add(format!("{what}, since power-on"), seconds.as_secs_f64());
    }

    /// The phases of a machine's bootstrap, by its own clock.
    pub fn phases(&mut self, machine: &str, told: &str) {
        for (phase, took) in phases(told) {
            self.add(format!("{machine}: {phase}"), took.as_secs_f64());
        }
    }

    fn add(&mut self, what: String, seconds: f64) {
        println!("{what}: {seconds:.0} s");
        self.known.push((what, seconds));
    }

    /// Writes them for whoever compares runs.
    pub fn write(&self, folder: &Path) {
        let lines: Value = self.known.iter().map(|(what, seconds)| json!([what, seconds])).collect();
        let path = folder.join(FILE);
        fs::write(&path, lines.to_string()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// From a phase's first beginning to its last end, in the order of beginnings; phases without an end are left out.
fn phases(told: &str) -> Vec<(String, Duration)> {
    let mut seen: Vec<(String, u64, u64)> = Vec::new();
    for line in told.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(at), Some(phase)) = (entry["at"].as_u64(), entry["phase"].as_str()) else { continue };
        let index = seen.iter().position(|(name, ..)| name == phase).unwrap_or_else(|| {
            seen.push((phase.to_owned(), at, 0));
            seen.len() - 1
        });
        if entry["event"] == "done" {
            seen[index].2 = at;
        }
    }
    let ended = seen.into_iter().filter(|(_, _, end)| *end > 0);
    ended.map(|(name, begin, end)| (name, Duration::from_secs(end.saturating_sub(begin)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_lasts_from_its_first_beginning_to_its_last_end() {
        let told = r#"
            {"at":10,"phase":"a","event":{"waiting":"x"}}
            {"at":12,"phase":"a","event":"begun"}
            {"at":15,"phase":"a","event":"done"}
            {"at":15,"phase":"b","event":"begun"}
            {"uptime":1}"#;
        assert_eq!(phases(told), [("a".to_owned(), Duration::from_secs(5))]);
    }
}
