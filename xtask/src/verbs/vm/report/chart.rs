//! A drawing of bars on one axis, as SVG. It repeats a table's numbers, so a screen reader gets its title alone.

use maud::{Markup, html};

/// A bar from one value of the axis to another.
pub(crate) struct ChartBar {
    pub(crate) label: String,
    pub(crate) begin: f64,
    pub(crate) end: f64,
    /// A class of the style sheet.
    pub(crate) class: &'static str,
    /// What stands beside it.
    pub(crate) note: String,
}

const WIDTH: f64 = 1000.0;
/// Where bars begin: left of it are their labels.
const LEFT: f64 = 260.0;
/// Where the axis ends: right of it is room for the last note.
const RIGHT: f64 = 900.0;
const ROW: f64 = 20.0;
/// Room for the axis.
const TOP: f64 = 24.0;

/// Draws bars. `unit` stands behind the axis' numbers.
pub(crate) fn chart(title: &str, unit: &str, bars: &[ChartBar]) -> Markup {
    let most = bars.iter().map(|bar| bar.end).fold(0.0, f64::max);
    let step = step(most);
    let end = (most / step).ceil().max(1.0) * step;
    let x = |value: f64| LEFT + (RIGHT - LEFT) * (value / end).clamp(0.0, 1.0);
    let height = TOP + ROW * bars.len() as f64 + 4.0;
    let ticks = (0..=(end / step).round() as u32).map(|tick| f64::from(tick) * step);
    let middle = |index: usize| TOP + ROW * (index as f64 + 0.5);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            @for value in ticks {
                line.grid x1=(place(x(value))) x2=(place(x(value))) y1=(TOP) y2=(height) {}
                text.tick x=(place(x(value))) y="16" { (value) " " (unit) }
            }
            @for (index, bar) in bars.iter().enumerate() {
                @let wide = (x(bar.end) - x(bar.begin)).max(1.5);
                text.label x=(place(LEFT - 8.0)) y=(place(middle(index) + 4.0)) { (short(&bar.label)) }
                rect class=(bar.class) x=(place(x(bar.begin))) y=(place(middle(index) - 6.0))
                    width=(place(wide)) height="12" rx="2" {}
                text.note x=(place(x(bar.begin) + wide + 6.0)) y=(place(middle(index) + 4.0)) { (bar.note) }
            }
        }
    }
}

/// A coordinate without noise.
fn place(value: f64) -> String {
    format!("{value:.1}")
}

/// The least of 1, 2, 5, 10, 20, … that cuts the axis into ten parts at most.
fn step(most: f64) -> f64 {
    let mut scale = 1.0;
    while scale < 1e15 {
        for step in [scale, 2.0 * scale, 5.0 * scale] {
            if most <= step * 10.0 {
                return step;
            }
        }
        scale *= 10.0;
    }
    scale
}

/// As many letters as there is room for.
fn short(label: &str) -> String {
    const LETTERS: usize = 34;
    if label.chars().count() <= LETTERS {
        return label.to_owned();
    }
    label.chars().take(LETTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_ten_parts_at_most() {
        for (most, expect) in [
            (0.0, 1.0),
            (0.3, 1.0),
            (10.0, 1.0),
            (10.1, 2.0),
            (49.0, 5.0),
            (526.0, 100.0),
            (1e30, 1e15),
            (f64::NAN, 1e15),
        ] {
            assert_eq!(step(most), expect, "{most}");
        }
    }

    #[test]
    fn a_bar_stands_where_its_values_are() {
        let bar =
            |begin, end| ChartBar { label: "<wait>".into(), begin, end, class: "done", note: "a & b".into() };
        let svg = chart("a \"title\"", "s", &[bar(0.0, 100.0), bar(50.0, 50.0)]).into_string();
        for part in [
            "aria-label=\"a &quot;title&quot;\"",
            "&lt;wait&gt;",
            "a &amp; b",
            "x=\"260.0\" y=\"28.0\" width=\"640.0\"",
            "x=\"580.0\" y=\"48.0\" width=\"1.5\"",
            ">100 s<",
        ] {
            assert!(svg.contains(part), "{part} in\n{svg}");
        }
        assert!(chart("nothing", "s", &[]).into_string().contains(">1 s<"));
    }
}
