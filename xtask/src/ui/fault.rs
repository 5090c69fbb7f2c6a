//! How faults look to a person.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use builder::base::Fault;

/// Draws a fault as lines of text: file, line and caret where a file is to blame, then expected and
/// found, then what mends it.
pub(crate) fn draw(fault: &Fault, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut group =
        Level::ERROR.primary_title(fault.what()).elements(Vec::<annotate_snippets::Element<'_>>::new());
    if let Some(place) = fault.place() {
        let end = place.text.len();
        let span = place.span.start.min(end)..place.span.end.min(end);
        let snippet = Snippet::source(place.text.as_str()).path(place.file.as_str());
        group = group.element(snippet.annotation(AnnotationKind::Primary.span(span)));
    }
    for cause in fault.causes() {
        group = group.element(Level::NOTE.message(cause.as_str()));
    }
    if let Some((expected, found)) = fault.mismatch() {
        group = group.element(Level::NOTE.message(format!("expected {expected}")));
        group = group.element(Level::NOTE.message(format!("found {found}")));
    }
    if let Some(help) = fault.help_text() {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;
    use builder::base::Place;

    #[test]
    fn a_fault_shows_place_expectation_and_cure() {
        let text = "[bridge]\nnmae = \"lxcbr0\"\n";
        let fault = Fault::user("unknown key `nmae`")
            .at(Place::new("recipes/site.toml", text, 9..13))
            .expected_found("`name`", "`nmae`")
            .help("write `name`");
        let drawn = draw(&fault, false);
        for part in [
            "error: unknown key `nmae`",
            "recipes/site.toml:2:1",
            "^^^^",
            "expected `name`",
            "help: write `name`",
        ] {
            assert!(drawn.contains(part), "{part:?} in\n{drawn}");
        }
    }
}
