//! The report as a page of its own: HTML and SVG with its style inside, nothing loaded, nothing run.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use node::doctor::finding::{Finding, Verdict};
use node::doctor::report::BootReport;

use super::boot::{FirstBoot, Phase, State, seconds};
use super::chart::{ChartBar, chart};
use super::composition::{Composition, Weight};
use crate::ui::table::bytes;

/// What the page tells, all of it known.
pub(crate) struct Page {
    /// The image's role and line: `master of line 1.20`.
    pub(crate) subject: String,
    /// The image's file and its length in bytes.
    pub(crate) image: (String, u64),
    /// What it ran on, in words.
    pub(crate) machine: String,
    /// What it said.
    pub(crate) boot: FirstBoot,
    /// What the image holds, or why that is not known.
    pub(crate) composition: Result<Composition, String>,
}

/// Rows of a drawing: what is longer is told by its table alone.
const ROWS: usize = 30;

impl Page {
    /// Writes the page's text.
    pub(crate) fn html(&self) -> String {
        let title = format!("First boot of a {}", self.subject);
        let report = self.boot.report.as_ref().map(|(_, report)| report);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { (title) }
                    style { (PreEscaped(include_str!("style.css"))) }
                }
                body {
                    main {
                        h1 { (title) }
                        (self.summary())
                        h2 { "Phases of the bootstrap" }
                        (phases(&self.boot))
                        h2 { "Units" }
                        @match (report, self.boot.kernel()) {
                            (Some(report), Some(kernel)) => (units(report, kernel)),
                            _ => p { "Not known: the machine tells of its units when its bootstrap is done." },
                        }
                        h2 { "What the image holds" }
                        @match &self.composition {
                            Ok(composition) => (weights(composition)),
                            Err(why) => p { "Not known: " (why) },
                        }
                        h2 { "The doctor's findings" }
                        @match report {
                            Some(report) => (findings(&report.findings)),
                            None => p { "Not known: the doctor is asked when the bootstrap is done." },
                        }
                        (strange(&self.boot.strange))
                    }
                }
            }
        };
        page.into_string()
    }

    fn summary(&self) -> Markup {
        let report = self.boot.report.as_ref().map(|(_, report)| report);
        let broken = report
            .map(|report| report.findings.iter().filter(|finding| finding.verdict == Verdict::No).count());
        html! {
            dl {
                dt { "Image" } dd { (self.image.0) ", " (bytes(self.image.1)) }
                dt { "Machine" } dd { (self.machine) }
                dt { "Bootstrap" }
                @match self.boot.done() {
                    Some(done) => dd { "done " (time(done)) " after power-on" },
                    None => dd { "not done when this was written" },
                }
                @match (report, broken) {
                    (Some(report), Some(0)) => {
                        dt { "Promises" } dd { span.yes { "all " (report.findings.len()) " hold" } }
                    }
                    (Some(report), Some(broken)) => {
                        dt { "Promises" } dd { span.no { (broken) " of " (report.findings.len()) " broken" } }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Seconds for people.
fn time(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn phases(boot: &FirstBoot) -> Markup {
    if boot.phases.is_empty() {
        return html! { p { "The machine told of none." } };
    }
    let class = |phase: &Phase| match phase.state {
        State::Done => "done",
        State::Failed => "bad",
        State::Begun | State::Waiting => "open",
    };
    let before = boot.kernel().into_iter().flat_map(|kernel| {
        let bar = |label: &str, begin, end| ChartBar {
            label: label.to_owned(),
            begin,
            end,
            class: "made",
            note: time(end - begin),
        };
        let first = boot.phases.iter().map(|phase| phase.began).fold(f64::INFINITY, f64::min);
        [bar("firmware, boot loader", 0.0, kernel), bar("kernel, units", kernel, first.max(kernel))]
    });
    let bars = boot.phases.iter().map(|phase| ChartBar {
        label: phase.name.clone(),
        begin: phase.began,
        end: phase.last,
        class: class(phase),
        note: time(phase.last - phase.began),
    });
    html! {
        (chart("Phases of the bootstrap in seconds after power-on", "s", &before.chain(bars).collect::<Vec<_>>()))
        div.scroll { table {
            caption { "Times in seconds after power-on." }
            thead { tr {
                th scope="col" { "phase" } th scope="col" { "state" } th.number scope="col" { "began" }
                th.number scope="col" { "took" } th scope="col" { "what came between" }
            } }
            tbody { @for phase in &boot.phases { tr {
                th scope="row" { (phase.name) }
                td { (phase.state.word()) }
                td.number { (time(phase.began)) }
                td.number { (time(phase.last - phase.began)) }
                td { @for (at, why) in &phase.setbacks { p { (time(*at)) ": " (why) } } }
            } } }
        } }
    }
}

fn units(report: &BootReport, kernel: f64) -> Markup {
    let mut longest: Vec<_> = report.units.iter().collect();
    longest.sort_by_key(|unit| (std::cmp::Reverse(unit.active - unit.began), &unit.name));
    longest.truncate(ROWS);
    longest.sort();
    let at = |microseconds| kernel + seconds(microseconds);
    let bars = longest.iter().map(|unit| ChartBar {
        label: unit.name.clone(),
        begin: at(unit.began),
        end: at(unit.active),
        class: "done",
        note: time(seconds(unit.active - unit.began)),
    });
    html! {
        p {
            "The kernel started " (time(kernel)) " after power-on, systemd " (time(at(report.userspace)))
            @if report.finished > 0 { "; nothing was left to start after " (time(at(report.finished))) }
            ". " (report.units.len()) " units came up; these took longest:"
        }
        (chart("Start of the slowest units in seconds after power-on", "s", &bars.collect::<Vec<_>>()))
        div.scroll { table {
            caption { "Times in seconds after power-on." }
            thead { tr {
                th scope="col" { "unit" } th.number scope="col" { "began" } th.number scope="col" { "took" }
            } }
            tbody { @for unit in longest { tr {
                th scope="row" { (unit.name) }
                td.number { (time(at(unit.began))) }
                td.number { (time(seconds(unit.active - unit.began))) }
            } } }
        } }
    }
}

fn weights(composition: &Composition) -> Markup {
    let whole = composition.whole();
    let mut rows: Vec<(&str, Weight)> =
        composition.packages.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    rows.sort_by_key(|(name, weight)| (std::cmp::Reverse(weight.bytes), *name));
    let rest = rows.split_off(rows.len().min(ROWS));
    let sum = rest.iter().fold(Weight::default(), |sum, (_, weight)| Weight {
        files: sum.files + weight.files,
        bytes: sum.bytes + weight.bytes,
    });
    let others = format!("{} smaller packages", rest.len());
    let more = [(others.as_str(), sum), ("made while installing", composition.made)];
    let more: Vec<_> = more.into_iter().filter(|(_, weight)| weight.files > 0).collect();
    let megabytes = |weight: &Weight| weight.bytes as f64 / 1e6;
    let bar = |(label, weight): &(&str, Weight), class| ChartBar {
        label: (*label).to_owned(),
        begin: 0.0,
        end: megabytes(weight),
        class,
        note: bytes(weight.bytes),
    };
    let bars = rows.iter().map(|row| bar(row, "done")).chain(more.iter().map(|row| bar(row, "made")));
    let share = |weight: &Weight| 100.0 * weight.bytes as f64 / whole.bytes.max(1) as f64;
    html! {
        p { "The root's " (whole.files) " files have " (bytes(whole.bytes)) " in "
            (composition.packages.len()) " packages." }
        (chart("The image's packages in megabytes", "MB", &bars.collect::<Vec<_>>()))
        div.scroll { table {
            caption { "Bytes of files, links and folders not counted." }
            thead { tr {
                th scope="col" { "package" } th.number scope="col" { "size" }
                th.number scope="col" { "share" } th.number scope="col" { "files" }
            } }
            tbody { @for (name, weight) in rows.iter().chain(&more) { tr {
                th scope="row" { (name) }
                td.number { (bytes(weight.bytes)) }
                td.number { (format!("{:.1} %", share(weight))) }
                td.number { (weight.files) }
            } } }
        } }
    }
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        div.scroll { table {
            caption { "Every promise, and what it was judged by." }
            thead { tr {
                th scope="col" { "promise" } th scope="col" { "holds" } th scope="col" { "evidence" }
            } }
            tbody { @for finding in findings { tr {
                th scope="row" { (finding.promise) }
                td { @match finding.verdict {
                    Verdict::Yes => span.yes { "yes" },
                    Verdict::No => span.no { "NO" },
                    Verdict::NothingToJudge => "-",
                } }
                td { @for line in &finding.evidence { p { (line) } } }
            } } }
        } }
    }
}

fn strange(lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            h2 { "What was not understood" }
            pre { (lines.join("\n")) }
        }
    }
}

#[cfg(test)]
mod tests;
