//! apt's sources, in both of their forms (sources.list(5)).
//!
//! ```text
//! deb [arch=amd64 signed-by=/x] http://mirror/debian bookworm main     *.list
//!
//! Types: deb                                                            *.sources
//! URIs: http://mirror/debian
//! Suites: bookworm bookworm-updates
//! Components: main
//! ```
//!
//! Only the addresses and suites count: whom to believe is pinned elsewhere, so `signed-by` and
//! `trusted` are not read.

use super::control::ControlText;
use crate::base::{Result, Url};

/// An archive that offers suites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptSource {
    /// Its root, above `dists/` and `pool/`.
    pub url: Url,
    /// The suites that it is asked for.
    pub suites: Vec<String>,
}

/// Reads a `*.sources` file.
pub fn parse_deb822(source: ControlText<'_>) -> Result<Vec<AptSource>> {
    let mut archives = Vec::new();
    for paragraph in source.read()? {
        let words = |name: &str| {
            let value = paragraph.get(name).unwrap_or_default();
            value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let disabled = matches!(paragraph.get("Enabled"), Some("no" | "false" | "0"));
        if disabled || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        let span = paragraph.field("URIs").map_or(0..0, |field| field.span.clone());
        for address in words("URIs") {
            let url = url(&address).map_err(|fault| source.locate(span.clone(), fault))?;
            archives.extend(url.map(|url| AptSource { url, suites: words("Suites") }));
        }
    }
    Ok(archives)
}

/// Reads a `*.list` file.
pub fn parse_list(source: ControlText<'_>) -> Result<Vec<AptSource>> {
    let mut archives = Vec::new();
    let mut start = 0;
    for line in source.text.split('\n') {
        let span = start..start + line.len();
        start = span.end + 1;
        let words = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = words.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else {
            continue;
        };
        let wrong = || {
            source
                .fault(span.clone(), "not a line of apt's sources")
                .expected_found("`deb URI SUITE COMPONENT`", format!("{words:?}"))
        };
        let rest = match rest.trim_start().strip_prefix('[') {
            Some(options) => options.split_once(']').ok_or_else(wrong)?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let (Some(address), Some(suite)) = (words.next(), words.next()) else { return Err(wrong()) };
        let url = url(address).map_err(|fault| source.locate(span.clone(), fault))?;
        archives.extend(url.map(|url| AptSource { url, suites: vec![suite.to_owned()] }));
    }
    Ok(archives)
}

/// `None` for what apt reaches in a way that we do not: `cdrom:`, `mirror+http:`.
fn url(text: &str) -> Result<Option<Url>> {
    match text.split_once(':') {
        Some(("http" | "https", _)) => Url::new(text).map(Some),
        Some(("file", path)) => Url::new(format!("file:///{}", path.trim_start_matches('/'))).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(archives: Result<Vec<AptSource>>) -> String {
        let archive = |archive: &AptSource| format!("{} {}", archive.url, archive.suites.join(","));
        archives.unwrap().iter().map(archive).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn both_forms() {
        let deb822 = "Types: deb deb-src\nURIs: http://a.example/debian https://b.example/debian/\nSuites: one two\nComponents: main\nSigned-By: /k\n\n# off\nEnabled: no\nTypes: deb\nURIs: http://c.example\nSuites: one\n\nTypes: deb-src\nURIs: http://d.example\nSuites: one\n\nTypes: deb\nURIs: cdrom:[x]/ file:/srv/x\nSuites: one\n";
        assert_eq!(
            shown(parse_deb822(ControlText::user("x.sources", deb822))),
            "http://a.example/debian one,two; https://b.example/debian/ one,two; file:///srv/x one"
        );
        let list = "# head\ndeb http://a.example/debian one main contrib # tail\n\ndeb-src http://a.example/debian one main\n\tdeb [ arch=amd64 signed-by=/k ] https://b.example two main\ndeb [trusted=yes] file:///srv/x ./\n";
        assert_eq!(
            shown(parse_list(ControlText::user("x.list", list))),
            "http://a.example/debian one; https://b.example two; file:///srv/x ./"
        );
    }

    #[test]
    fn faults_name_the_line() {
        let fault = parse_list(ControlText::user("x.list", "\ndeb http://a.example\n")).unwrap_err();
        assert_eq!(fault.place().unwrap().line(), 2);
        let fault =
            parse_list(ControlText::user("x.list", "deb http://user:pw@a.example one main\n")).unwrap_err();
        assert_eq!(fault.place().unwrap().line(), 1);
        let fault =
            parse_deb822(ControlText::user("x.sources", "Types: deb\nURIs: http://a%0a\nSuites: x\n"))
                .unwrap_err();
        assert_eq!(fault.place().unwrap().line(), 2);
    }
}
