//! What a dashboard is: rows of panels, each with a question, queries and a look.

use super::query;

/// One dashboard.
#[derive(Debug)]
pub struct Dashboard {
    /// Its file's name; `runtrail-` before it makes the uid, which never changes.
    pub name: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// The question that it answers.
    pub question: &'static str,
    /// What the reader can narrow it to.
    pub variables: Vec<Variable>,
    /// From the top.
    pub rows: Vec<Row>,
}

/// One choice of the reader: several values of a label, or all.
#[derive(Debug)]
pub struct Variable {
    /// Its name, which is also that of the label.
    pub name: &'static str,
    /// What stands before it.
    pub title: &'static str,
    /// The series whose values are offered.
    pub series: &'static str,
    /// Whether it is only carried along, for the dashboards that are linked.
    pub hidden: bool,
}

/// Panels under one heading.
#[derive(Debug)]
pub struct Row {
    /// The heading.
    pub title: &'static str,
    /// From left to right; what does not fit begins a new line.
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// Its heading.
    pub title: &'static str,
    /// What it says, and what to do with it.
    pub says: &'static str,
    /// How it is drawn.
    pub look: Look,
    /// What is drawn.
    pub queries: Vec<Query>,
    /// Of its values; tables have one a column.
    pub unit: Unit,
    /// From the lowest.
    pub thresholds: Thresholds,
    /// Colours of those legends that mean something good or bad.
    pub colours: Vec<(&'static str, Colour)>,
    /// Words instead of numbers.
    pub words: Vec<(f64, &'static str, Colour)>,
    /// What stands there when there is nothing to show.
    pub nothing: &'static str,
    /// In columns of 24, and lines.
    pub size: (u32, u32),
    /// Where values have a natural top.
    pub max: Option<f64>,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Lines over time.
    Lines,
    /// Areas over time, one on top of the other.
    Stacked,
    /// Bars over time, one on top of the other.
    Bars,
    /// Numbers, as large as fits.
    Numbers,
    /// Horizontal bars.
    Gauges,
    /// The buckets of a histogram over time.
    Heatmap,
    /// Rows, worst first: by the query with this place.
    Table {
        /// The query that sorts.
        worst_by: usize,
    },
}

/// One query.
#[derive(Debug)]
pub struct Query {
    /// In PromQL, with the variables of Grafana.
    pub expr: String,
    /// The legend, or in a table the heading of the column.
    pub legend: &'static str,
    /// Whether single runs are shown, each with its trace.
    pub exemplars: bool,
    /// Of a column of a table.
    pub unit: Unit,
    /// Of a column of a table.
    pub thresholds: Thresholds,
}

/// Above each value its colour; below the first one it is the first colour.
pub type Thresholds = &'static [(f64, Colour)];

/// What values are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a minute.
    PerMinute,
    /// Things a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of one.
    Share,
    /// US dollars.
    Dollars,
    /// Tokens a second.
    TokensPerSecond,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Neither good nor bad.
    Plain,
    /// As it should be.
    Good,
    /// Look at it when there is time.
    Uneasy,
    /// Look at it now.
    Bad,
}

impl Panel {
    /// A panel that has no query yet.
    pub fn new(look: Look, title: &'static str, says: &'static str) -> Self {
        Self {
            title,
            says,
            look,
            queries: Vec::new(),
            unit: Unit::Count,
            thresholds: &[],
            colours: Vec::new(),
            words: Vec::new(),
            nothing: "nothing yet",
            size: if look == Look::Numbers {
                (4, 4)
            } else {
                (12, 8)
            },
            max: None,
        }
    }

    /// One query more.
    pub fn query(mut self, legend: &'static str, expr: &str) -> Self {
        self.queries.push(Query {
            expr: query::written_out(expr),
            legend,
            exemplars: false,
            unit: self.unit,
            thresholds: &[],
        });
        self
    }

    /// One column more.
    pub fn column(mut self, heading: &'static str, unit: Unit, expr: &str) -> Self {
        self = self.query(heading, expr);
        if let Some(query) = self.queries.last_mut() {
            query.unit = unit;
        }
        self
    }

    /// Colours the column before.
    pub fn column_thresholds(mut self, thresholds: Thresholds) -> Self {
        if let Some(query) = self.queries.last_mut() {
            query.thresholds = thresholds;
        }
        self
    }

    /// Shows single runs of the queries so far, each with its trace.
    pub fn exemplars(mut self) -> Self {
        for query in &mut self.queries {
            query.exemplars = true;
        }
        self
    }

    /// What its values are counted in.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Where it changes its colour.
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// Gives a legend a colour that means something.
    pub fn colour(mut self, legend: &'static str, colour: Colour) -> Self {
        self.colours.push((legend, colour));
        self
    }

    /// Shows a word instead of a number.
    pub fn word(mut self, value: f64, word: &'static str, colour: Colour) -> Self {
        self.words.push((value, word, colour));
        self
    }

    /// What stands there when there is nothing to show.
    pub fn nothing(mut self, nothing: &'static str) -> Self {
        self.nothing = nothing;
        self
    }

    /// Its columns of 24, and its lines.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    /// The natural top of its values.
    pub fn max(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }
}

impl Variable {
    /// By which everything about runs can be narrowed. Two servers that know the
    /// same project and workflow differ by namespace or job.
    pub fn of_runs() -> Vec<Self> {
        let mut all = Self::of_job();
        all.extend(Self::of_run(false));
        all
    }

    /// By which one runtrail of several is chosen, with the choice among runs
    /// carried along.
    pub fn of_runtrail() -> Vec<Self> {
        let mut all = Self::of_job();
        all.push(Self {
            name: "instance",
            title: "Instance",
            series: r#"runtrail_build_info{namespace=~"$namespace",job=~"$job"}"#,
            hidden: false,
        });
        all.extend(Self::of_run(true));
        all
    }

    /// Outside of Kubernetes there is no namespace to choose, and all is what has none.
    fn of_job() -> Vec<Self> {
        let variable = |name, title, series| Self {
            name,
            title,
            series,
            hidden: false,
        };
        vec![
            variable("namespace", "Namespace", "runtrail_build_info"),
            variable(
                "job",
                "Job",
                r#"runtrail_build_info{namespace=~"$namespace"}"#,
            ),
        ]
    }

    fn of_run(hidden: bool) -> Vec<Self> {
        let variable = |name, title, series| Self {
            name,
            title,
            series,
            hidden,
        };
        vec![
            variable(
                "system",
                "System",
                r#"runtrail_runs_started_total{namespace=~"$namespace",job=~"$job"}"#,
            ),
            variable(
                "project",
                "Project",
                r#"runtrail_runs_started_total{namespace=~"$namespace",job=~"$job",system=~"$system"}"#,
            ),
            variable(
                "workflow",
                "Workflow",
                r#"runtrail_runs_started_total{namespace=~"$namespace",job=~"$job",system=~"$system",project=~"$project"}"#,
            ),
        ]
    }
}
