//! Charts as SVG: lines over a scale, and bars in groups.
//!
//! Invariant: colours are the page's own, so that a chart is right in its light and in its dark scheme; every value can be
//! read by pointing at it.

use std::fmt::Write;

use super::{
    escape,
    scale::{Kind, Scale},
};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// About the width of a letter below a chart.
const LETTER: f64 = 6.5;
/// Colours of the page.
const COLOURS: usize = 8;
/// Most points of a line that can be pointed at.
const POINTS_MAX: usize = 120;

/// One line of a chart, or one colour of its bars.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Which of the page's colours.
    pub colour: usize,
    /// Whether it is something to hold against: drawn in dashes.
    pub is_baseline: bool,
    /// Places and values.
    pub points: Vec<(f64, f64)>,
}

/// How one direction of a chart is.
pub struct Axis {
    /// What it shows.
    pub label: &'static str,
    /// How values are spread.
    pub kind: Kind,
    /// How a value is written.
    pub text: fn(f64) -> String,
}

/// A chart with lines, in its frame with a title and a legend; nothing without points.
pub fn lines(title: &str, across: &Axis, up: &Axis, series: &[Series]) -> String {
    let series: Vec<&Series> = series.iter().filter(|series| !series.points.is_empty()).collect();
    let points = || series.iter().flat_map(|series| series.points.iter());
    if points().next().is_none() {
        return String::new();
    }
    let x = Scale::new(across.kind, points().map(|(x, _)| *x));
    let y = Scale::new(up.kind, points().map(|(_, y)| *y));
    let mut svg = String::new();
    grid(&mut svg, up, &y);
    let mut free = 0.0;
    for tick in x.ticks() {
        let (at, text) = (place_x(&x, tick), (across.text)(tick));
        let half = text.chars().count() as f64 * LETTER / 2.0;
        if at - half < free {
            continue;
        }
        free = at + half + LETTER;
        put(
            &mut svg,
            &format!(
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 17.0,
                escape(&text)
            ),
        );
    }
    axis_label(&mut svg, across.label);
    for series in &series {
        let place = |(at, value): &(f64, f64)| (place_x(&x, *at), place_y(&y, *value));
        let path: Vec<String> =
            series.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let class = class(series);
        if path.len() > 1 {
            put(&mut svg, &format!("<polyline class=\"line {class}\" points=\"{}\"/>", path.join(" ")));
        }
        // One point makes no line: it is seen without being pointed at.
        let lone = if path.len() == 1 { " lone" } else { "" };
        let every = series.points.len().div_ceil(POINTS_MAX);
        for point in series.points.iter().step_by(every) {
            let (cx, cy) = place(point);
            let label = format!("{}: {} at {}", series.name, (up.text)(point.1), (across.text)(point.0));
            put(
                &mut svg,
                &format!(
                    "<g class=\"point{lone} {class}\"><circle class=\"aim\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"8\"/>\
                 <circle class=\"dot\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/><title>{}</title></g>",
                    escape(&label)
                ),
            );
        }
    }
    frame(title, &svg, &series)
}

/// A chart with a group of bars for each name; the place of a point is the number of its group.
pub fn bars(title: &str, groups: &[String], up: &Axis, series: &[Series]) -> String {
    let series: Vec<&Series> = series.iter().filter(|series| !series.points.is_empty()).collect();
    if groups.is_empty() || series.is_empty() {
        return String::new();
    }
    let values = || series.iter().flat_map(|series| series.points.iter().map(|(_, value)| *value));
    // By size, the lowest bar has to have some height too.
    let floor = values().fold(f64::INFINITY, f64::min) / 3.0;
    let y = Scale::new(up.kind, values().chain([floor]));
    let mut svg = String::new();
    grid(&mut svg, up, &y);
    let room = (WIDTH - LEFT - RIGHT) / groups.len() as f64;
    let count = series.len() as f64;
    let width = (room * 0.8 / count).min(48.0);
    // Names that would touch take turns on two lines.
    let longest = groups.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let lines = if (longest + 1) as f64 * LETTER > room { 2 } else { 1 };
    for (number, name) in groups.iter().enumerate() {
        let middle = LEFT + room * (number as f64 + 0.5);
        let (below, short) = (17.0 + 14.0 * (number % lines) as f64, shorten(name, room * lines as f64));
        // A long name at an edge stays inside.
        let half = short.chars().count() as f64 * LETTER / 2.0;
        let at = middle.min(WIDTH - half).max(half);
        put(
            &mut svg,
            &format!(
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + below,
                escape(&short)
            ),
        );
        for (index, series) in series.iter().enumerate() {
            let Some((_, value)) = series.points.iter().find(|(at, _)| *at == number as f64) else {
                continue;
            };
            let left = middle + width * (index as f64 - count / 2.0);
            let top = place_y(&y, *value);
            let height = (HEIGHT - BOTTOM - top).max(0.5);
            let label = format!("{}, {name}: {}", series.name, (up.text)(*value));
            put(
                &mut svg,
                &format!(
                    "<rect class=\"bar {}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\">\
                 <title>{}</title></rect>",
                    class(series),
                    width - 2.0,
                    escape(&label)
                ),
            );
        }
    }
    frame(title, &svg, &series)
}

fn grid(svg: &mut String, up: &Axis, y: &Scale) {
    for tick in y.ticks() {
        let at = place_y(y, tick);
        let (end, beside, text) = (WIDTH - RIGHT, LEFT - 8.0, escape(&(up.text)(tick)));
        put(
            svg,
            &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{beside}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                at + 4.0
            ),
        );
    }
}

fn axis_label(svg: &mut String, label: &str) {
    let (middle, below) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 6.0);
    put(
        svg,
        &format!("<text class=\"label\" x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>"),
    );
}

fn frame(title: &str, svg: &str, series: &[&Series]) -> String {
    let mut legend = String::new();
    for series in series {
        let (class, name) = (class(series), escape(&series.name));
        put(&mut legend, &format!("<span class=\"{class}\"><i></i>{name}</span>"));
    }
    let title = escape(title);
    format!(
        "<figure><figcaption>{title}</figcaption><div class=\"legend\">{legend}</div>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{svg}</svg></figure>\n"
    )
}

fn class(series: &Series) -> String {
    let baseline = if series.is_baseline { " baseline" } else { "" };
    format!("c{}{baseline}", series.colour % COLOURS)
}

fn place_x(scale: &Scale, value: f64) -> f64 {
    LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)
}

fn place_y(scale: &Scale, value: f64) -> f64 {
    HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - BOTTOM - TOP)
}

/// A name that fits into its room, cut at its end.
fn shorten(name: &str, room: f64) -> String {
    let most = (room / 7.2) as usize;
    match name.chars().count() > most {
        true => name.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect(),
        false => name.to_owned(),
    }
}

fn put(svg: &mut String, part: &str) {
    svg.write_str(part).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::{Axis, Kind, Series, bars, lines};

    const AXIS: Axis = Axis { label: "value", kind: Kind::Linear, text: |value| value.to_string() };

    fn series(points: &[(f64, f64)]) -> Vec<Series> {
        vec![Series { name: "a<b".to_owned(), colour: 0, is_baseline: false, points: points.to_vec() }]
    }

    #[test]
    fn a_line_goes_from_corner_to_corner_and_its_points_have_names() {
        let text = lines("t", &AXIS, &AXIS, &series(&[(0.0, 0.0), (1.0, 10.0)]));
        assert!(text.contains("points=\"62.0,260.0 626.0,12.0\""), "{text}");
        assert!(text.contains("<title>a&lt;b: 10 at 1</title>"), "{text}");
    }

    #[test]
    fn a_chart_without_points_is_not_there() {
        assert_eq!(lines("t", &AXIS, &AXIS, &series(&[])), "");
        assert_eq!(bars("t", &["g".to_owned()], &AXIS, &series(&[])), "");
    }
}
