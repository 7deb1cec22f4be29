//! The figures as a plot (SVG): over the number of flows, a panel for what is alike,
//! in each the reference program as a dashed line.

use std::{fs, path::Path as FilePath};

use anyhow::{Context as _, Result};
use lb_daemon::config::model::{IpFamily, Protocol, Scheduler};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    cases::{Case, Method, Path},
    report::{Line, Report, grouped},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Pixels of a panel, and of the room for names on its right.
const PANEL: (u32, u32) = (500, 330);
const NAMES: u32 = 110;
const COLUMNS: usize = 2;
/// Pixels from one name to the next.
const NAME_HEIGHT: i32 = 15;
const FONT: (&str, i32) = ("sans-serif", 14);
const TITLE: (&str, i32) = ("sans-serif", 17);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const FRAME: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Colours that differ for everybody, after Okabe and Ito.
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);

struct Panel {
    title: String,
    series: Vec<Series>,
}

/// One case over the numbers of flows.
struct Series {
    name: String,
    colour: RGBColor,
    is_dashed: bool,
    is_hollow: bool,
    /// The logarithm of the flows, a power of two, and ns net.
    points: Vec<(i32, f64)>,
}

/// Draws what is in the report.
pub(crate) fn write(report: &Report, path: &FilePath) -> Result<()> {
    let panels = panels(report);
    let rows = panels.len().div_ceil(COLUMNS);
    let columns = panels.len().min(COLUMNS) as u32;
    let mut svg = String::new();
    {
        let size = (PANEL.0 * columns, PANEL.1 * rows as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let areas = root.split_evenly((rows, columns as usize));
        for (panel, area) in panels.iter().zip(areas) {
            panel.draw(&area).with_context(|| panel.title.clone())?;
        }
        root.present()?;
    }
    fs::write(path, svg).with_context(|| format!("write {}", path.display()))
}

/// Those that have something to show.
fn panels(report: &Report) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for case in Case::all() {
        let lines = report.lines().iter();
        let lines: Vec<_> = lines.filter(|line| line.case == case.name()).collect();
        if lines.is_empty() {
            continue;
        }
        let title = title(&case);
        let series = Series {
            name: name(&case),
            colour: colour(&case),
            is_dashed: false,
            is_hollow: case.path == Path::New(Scheduler::Mh),
            points: points(lines),
        };
        match panels.iter_mut().find(|panel| panel.title == title) {
            Some(panel) => panel.series.push(series),
            None => panels.push(Panel {
                title,
                series: vec![series],
            }),
        }
    }
    for panel in &mut panels {
        panel.add_reference(report.references());
    }
    panels
}

fn points<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Vec<(i32, f64)> {
    let point = |line: &Line| (line.flows.ilog2() as i32, line.net());
    let mut points: Vec<_> = lines.into_iter().map(point).collect();
    points.sort_by_key(|point| point.0);
    points
}

fn title(case: &Case) -> String {
    let family = match case.family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    };
    let protocol = match case.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    match case.path {
        Path::Established | Path::Back => format!("Established, {protocol} over {family}"),
        Path::New(_) => format!("New connections, {protocol} over {family}"),
        _ => format!("Others, {family}"),
    }
}

fn name(case: &Case) -> String {
    let name = case.name();
    // The title says the rest.
    ["_v4", "_v6", "_established", "_udp", "_new"]
        .iter()
        .fold(name, |name, part| name.replace(part, ""))
        .replace('_', " ")
}

fn colour(case: &Case) -> RGBColor {
    match (case.path, case.method) {
        (Path::Back, _) => PURPLE,
        (Path::Icmp, _) => GREEN,
        (Path::IcmpError, _) => ORANGE,
        (Path::Dropped, _) | (_, Method::Nat) => VERMILION,
        (_, Method::Dr) => BLUE,
        (_, Method::Tun) => GREEN,
        (_, Method::Gue) => SKY,
        (_, Method::Gre) => ORANGE,
    }
}

impl Panel {
    /// The reference program, as far as the panel's numbers of flows go.
    fn add_reference(&mut self, references: &[Line]) {
        let (least, most) = self.flows();
        let mut points = points(references);
        points.retain(|(flows, _)| (least..=most).contains(flows));
        if !points.is_empty() {
            self.series.push(Series {
                name: "reference".into(),
                colour: INK,
                is_dashed: true,
                is_hollow: false,
                points,
            });
        }
    }

    fn all_points(&self) -> impl Iterator<Item = (i32, f64)> {
        self.series.iter().flat_map(|series| series.points.clone())
    }

    /// The least and the greatest logarithm.
    fn flows(&self) -> (i32, i32) {
        let flows = || self.all_points().map(|(flows, _)| flows);
        (flows().min().unwrap_or(0), flows().max().unwrap_or(0))
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let (least, most) = self.flows();
        // A single number of flows has a width, too.
        let range = least..most.max(least + 1);
        let top = self.all_points().map(|(_, ns)| ns).fold(1.0, f64::max) * 1.08;
        let mut ticks: Vec<_> = self.all_points().map(|(flows, _)| flows).collect();
        ticks.sort_unstable();
        ticks.dedup();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, TITLE.into_font().color(&INK))
            .margin(10)
            .margin_right(NAMES)
            .x_label_area_size(40)
            .y_label_area_size(58)
            .build_cartesian_2d(range.with_key_points(ticks), 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(FRAME)
            .axis_style(FRAME)
            .label_style(FONT.into_font().color(&INK))
            .x_desc("flows")
            .y_desc("ns a packet, net")
            .x_label_formatter(&|flows| tick(*flows))
            .y_label_formatter(&|ns| grouped(*ns as u32))
            .y_labels(7)
            .draw()?;
        for series in &self.series {
            let style = series.colour.stroke_width(2);
            let points = series.points.iter().copied();
            if series.is_dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 5, style))?;
                continue;
            }
            chart.draw_series(LineSeries::new(points.clone(), style))?;
            let inside = if series.is_hollow {
                WHITE
            } else {
                series.colour
            };
            chart.draw_series(points.clone().map(|at| Circle::new(at, 4, inside.filled())))?;
            chart.draw_series(points.map(|at| Circle::new(at, 4, style)))?;
        }
        let ends = self.series.iter().map(|series| {
            let end = series.points.last().copied().unwrap_or((most, 0.0));
            chart.backend_coord(&end)
        });
        let (origin_x, origin_y) = area.get_pixel_range();
        let ends = ends.map(|(x, y)| (x - origin_x.start, y - origin_y.start));
        self.draw_names(area, &ends.collect::<Vec<_>>())
    }

    /// Each series' name beside its end, with room between names.
    fn draw_names(&self, area: &Area<'_>, ends: &[(i32, i32)]) -> Result<()> {
        let mut order: Vec<_> = (0..ends.len()).collect();
        order.sort_by_key(|index| ends[*index].1);
        let heights = apart(order.iter().map(|index| ends[*index].1).collect());
        let right = ends.iter().map(|end| end.0).max().unwrap_or(0);
        for (index, y) in order.into_iter().zip(heights) {
            let (series, end) = (&self.series[index], ends[index]);
            let leader = [(end.0 + 6, end.1), (right + 16, y), (right + 20, y)];
            area.draw(&PathElement::new(leader, series.colour.mix(0.6)))?;
            let style = FONT.into_font().color(&INK);
            let style = style.pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(series.name.clone(), (right + 24, y), style))?;
        }
        Ok(())
    }
}

/// Heights that are near the given ones, which ascend, and [`NAME_HEIGHT`] apart: a
/// group of names that would touch stands around the middle of its ends.
fn apart(ends: Vec<i32>) -> Vec<i32> {
    // Groups: the sum of the ends, and how many there are.
    let mut groups: Vec<(i32, i32)> = Vec::new();
    let first = |(sum, count): (i32, i32)| sum / count - (count - 1) * NAME_HEIGHT / 2;
    for end in ends {
        let mut group = (end, 1);
        while let Some(above) = groups.pop() {
            if first(above) + above.1 * NAME_HEIGHT <= first(group) {
                groups.push(above);
                break;
            }
            group = (above.0 + group.0, above.1 + group.1);
        }
        groups.push(group);
    }
    let heights =
        |group: (i32, i32)| (0..group.1).map(move |place| first(group) + place * NAME_HEIGHT);
    groups.into_iter().flat_map(heights).collect()
}

/// Short, so that ticks do not touch.
fn tick(logarithm: i32) -> String {
    let flows = 1 << logarithm;
    match flows >> 20 {
        0 => grouped(flows),
        millions => format!("{millions}M"),
    }
}
