//! Pages of boots that went well, badly and not at all.

use node::doctor::report::UnitStart;

use super::*;
use crate::verbs::vm::report::boot::Heard;

/// A page of a boot that was told in these lines, each a second after the last.
fn page(lines: &[&str], composition: Result<Composition, String>) -> String {
    let heard = |(at, text): (usize, &&str)| Heard { at: at as f64 + 10.0, text: (*text).to_owned() };
    let heard: Vec<_> = lines.iter().enumerate().map(heard).collect();
    let page = Page {
        subject: "master of line 1.20".to_owned(),
        image: ("dist/1.20/images/hale-<master>.raw".to_owned(), 1_400_000_000),
        machine: "2 processors, 4096 MiB, UEFI, emulation".to_owned(),
        boot: FirstBoot::of(&heard),
        composition,
    };
    page.html()
}

fn entry(phase: &str, event: &str) -> String {
    format!("{{\"at\":1,\"phase\":\"{phase}\",\"event\":{event}}}")
}

fn report(findings: Vec<Finding>) -> String {
    let unit = |name: &str, began, active| UnitStart { began, active, name: name.to_owned() };
    let units = vec![unit("-.mount", 1_000_000, 1_000_000), unit("crio.service", 2_000_000, 4_500_000)];
    let report = BootReport { uptime: 5_000_000, userspace: 900_000, finished: 4_600_000, units, findings };
    serde_json::to_string(&report).unwrap()
}

fn finding(promise: &str, verdict: Verdict, evidence: &str) -> Finding {
    Finding { promise: promise.to_owned(), verdict, evidence: vec![evidence.to_owned()] }
}

fn composition() -> Composition {
    let mut composition = Composition::default();
    for number in 0..ROWS + 2 {
        let weight = Weight { files: 1, bytes: 1_000_000 * (number as u64 + 1) };
        composition.packages.insert(format!("package-{number}"), weight);
    }
    composition.made = Weight { files: 7, bytes: 2_000_000 };
    composition
}

/// Every part is in the page, and none of the others.
fn check(html: &str, parts: &[&str], absent: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "no {part:?} in\n{html}");
    }
    for part in absent {
        assert!(!html.contains(part), "{part:?} in\n{html}");
    }
}

#[test]
fn a_boot_that_went_well_is_told_whole() {
    let lines = [
        entry("preflight", "\"begun\""),
        entry("preflight", "\"done\""),
        entry("verify", "\"begun\""),
        entry("verify", "\"done\""),
        report(vec![finding("nothing listens", Verdict::Yes, "12 sockets")]),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check(
        &page(&lines, Ok(composition())),
        &[
            "<title>First boot of a master of line 1.20</title>",
            "done 13.0 s after power-on",
            "all 1 hold",
            "The kernel started 9.0 s after power-on, systemd 9.9 s; nothing was left to start after 13.6 s.",
            "<th scope=\"row\">crio.service</th><td class=\"number\">11.0 s</td><td class=\"number\">2.5 s</td>",
            "<th scope=\"row\">2 smaller packages</th><td class=\"number\">3.0 MB</td>",
            "<th scope=\"row\">made while installing</th>",
            "<td><span class=\"yes\">yes</span></td><td><p>12 sockets</p></td>",
        ],
        &["not understood", "Not known", "package-1<", "NO"],
    );
}

#[test]
fn a_boot_that_did_not_end_says_what_is_missing() {
    let lines = [entry("preflight", "{\"waiting\":\"there is no bridge\"}")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let waits = "<th scope=\"row\">preflight</th><td>waits</td>";
    check(
        &page(&lines, Err("the store has it no more".to_owned())),
        &[
            "not done when this was written",
            waits,
            "waits: there is no bridge",
            "Not known: the store has it",
        ],
        &["Promises"],
    );
    check(
        &page(&[], Ok(Composition::default())),
        &["The machine told of none.", "0 packages"],
        &["NaN", "inf"],
    );
}

#[test]
fn nothing_that_was_told_can_become_markup() {
    let evil = "<script>\"'&</script>";
    let lines = [
        entry(&evil.replace('"', "\\\""), "\"begun\""),
        evil.to_owned(),
        report(vec![finding(evil, Verdict::No, evil)]),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut weights = composition();
    weights.packages.insert(evil.to_owned(), Weight { files: 1, bytes: 1 << 40 });
    let html = page(&lines, Ok(weights));
    check(&html, &["What was not understood", "1 of 1 broken", "hale-&lt;master&gt;.raw"], &["<script"]);
    assert!(html.matches("&lt;script&gt;").count() >= 6, "{html}");
    let html = page(&lines, Err(evil.to_owned()));
    check(&html, &["Not known: &lt;script&gt;"], &["<script"]);
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let html = page(&[&report(Vec::new())], Ok(composition()));
    check(
        &html,
        &["lang=\"en\"", "default-src 'none'", "prefers-color-scheme"],
        &["http:", "https:", "src=", "url("],
    );
    // One that is left open takes in what comes after it: a drawing's rest vanishes in a line.
    for element in
        ["table", "svg", "line", "rect", "text", "h2", "main", "body", "html", "tr", "td", "th", "p", "div"]
    {
        let open =
            html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count();
        assert_eq!(open, html.matches(&format!("</{element}>")).count(), "{element}");
    }
}
