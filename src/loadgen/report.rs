//! Results of a load: counted while it runs, reported as a table or an object.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};

use crate::loadgen::workload::{COUNTED_OPS, WorkloadOp};
use crate::node::stats::histogram::Histogram;
use crate::ui::lang::Lang;
use crate::ui::text;

/// Readers of the processor time used so far.
pub struct Gauges {
    /// Of this process.
    pub own: fn() -> Duration,
    /// Of the server, where the system reports that.
    pub server: Option<Box<dyn Fn() -> Option<Duration>>>,
}

/// The counts of one kind of request.
#[derive(Clone, Default)]
pub struct Counted {
    /// The latency of responses.
    pub times: Histogram,
    /// The number of error responses.
    pub refused: u64,
}

/// A period and the processor time used in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Its length.
    pub seconds: f64,
    /// Processor time of this process, in seconds.
    pub own: f64,
    /// Processor time of the server, in seconds.
    pub server: Option<f64>,
}

/// Measures a period from its start.
pub struct Measuring {
    began: Instant,
    own: Duration,
    server: Option<Duration>,
}

impl Measuring {
    /// Start a period.
    #[must_use]
    pub fn begin(gauges: &Gauges, now: Instant) -> Measuring {
        Measuring {
            began: now,
            own: (gauges.own)(),
            server: gauges.server.as_ref().and_then(|server| server()),
        }
    }

    /// The period so far.
    #[must_use]
    pub fn end(&self, gauges: &Gauges, now: Instant) -> Stretch {
        let server = gauges.server.as_ref().and_then(|server| server());
        let server = server
            .zip(self.server)
            .map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        let own = (gauges.own)().saturating_sub(self.own).as_secs_f64();
        Stretch { seconds: now.saturating_duration_since(self.began).as_secs_f64(), own, server }
    }
}

/// The figures of one kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The word of the kind.
    pub word: &'static str,
    /// The number of responses.
    pub count: u64,
    /// The number of error responses.
    pub refused: u64,
    /// Responses per second.
    pub rate: f64,
    /// The 50, 90, 99 and 99.9 % quantiles of the latency, and the longest, in milliseconds.
    pub ms: [f64; 5],
}

/// An event of a load.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// All peers have joined.
    In {
        /// The number of peers.
        peers: usize,
        /// The number of files in their lists.
        files: u64,
        /// The time that took.
        stretch: Stretch,
    },
    /// The measurement is over.
    Over(LoadReport),
}

/// The result of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadReport {
    /// The number of peers.
    pub peers: usize,
    /// Requests under way on each connection.
    pub depth: usize,
    /// The period of the measurement.
    pub stretch: Stretch,
    /// One row for each kind with responses.
    pub rows: Vec<Row>,
    /// Files in JOINs.
    pub files: u64,
    /// Search responses with a wrong number of providers.
    pub wrong: u64,
    /// Connections that were lost.
    pub lost: u64,
}

impl LoadReport {
    /// The rows of these counts.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn rows(counted: &[Counted; COUNTED_OPS.len()], seconds: f64) -> Vec<Row> {
        let ms = |times: &Histogram, of_thousand| times.quantile(of_thousand).as_secs_f64() * 1e3;
        let row = |((_, word), counted): (&(WorkloadOp, &'static str), &Counted)| {
            let Counted { times, refused } = counted;
            let rate = times.count() as f64 / seconds.max(1e-9);
            let ms = [
                ms(times, 500),
                ms(times, 900),
                ms(times, 990),
                ms(times, 999),
                times.longest().as_secs_f64() * 1e3,
            ];
            (times.count() > 0).then_some(Row {
                word,
                count: times.count(),
                refused: *refused,
                rate,
                ms,
            })
        };
        COUNTED_OPS.iter().zip(counted).filter_map(row).collect()
    }

    /// The number of all responses.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.rows.iter().map(|row| row.count).sum()
    }

    /// The processor time of the server per request, in microseconds.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn server_micros(&self) -> Option<f64> {
        Some(self.stretch.server? * 1e6 / self.answered().max(1) as f64)
    }

    /// A table, with a summary below.
    #[must_use]
    pub fn table(&self, lang: Lang) -> String {
        let words = text::catalog(lang).report_words();
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(words.head);
        for row in &self.rows {
            let cells = [row.word.to_owned(), row.count.to_string(), format!("{:.0}", row.rate)];
            table.add_row(
                cells
                    .into_iter()
                    .chain(row.ms.map(|ms| format!("{ms:.2}")))
                    .chain([row.refused.to_string()]),
            );
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let Stretch { seconds, own, server } = self.stretch;
        let share = |used: f64| format!("{:.0} %", used / seconds.max(1e-9) * 100.0);
        let mut below = format!(
            "{} {}, {} {}, {seconds:.2} s; {} {}",
            self.peers,
            words.peers,
            words.depth,
            self.depth,
            words.own,
            share(own)
        );
        if let (Some(server), Some(micros)) = (server, self.server_micros()) {
            below.push_str(&format!(
                ", {} {}, {micros:.2} µs {}",
                words.server,
                share(server),
                words.each
            ));
        }
        if self.wrong + self.lost > 0 {
            below.push_str(&format!(
                "; {}: {}; {}: {}",
                words.wrong, self.wrong, words.lost, self.lost
            ));
        }
        format!("{}\n{below}", lines.join("\n"))
    }
}

impl News {
    /// The event in words.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn say(&self, lang: Lang) -> String {
        match self {
            News::Over(figures) => figures.table(lang),
            News::In { peers, files, stretch } => {
                let words = text::catalog(lang).report_words();
                let rate = *files as f64 / stretch.seconds.max(1e-9);
                format!(
                    "{peers} {}, {files} {}, {:.2} s, {rate:.0} /s",
                    words.peers, words.files, stretch.seconds
                )
            }
        }
    }
}

/// The words of a report in one language.
pub struct ReportWords {
    /// The heads of the columns.
    pub head: [&'static str; 9],
    /// Peers.
    pub peers: &'static str,
    /// Files in the JOINs.
    pub files: &'static str,
    /// Requests in flight of each peer.
    pub depth: &'static str,
    /// Processor time of the load generator.
    pub own: &'static str,
    /// Processor time of the server.
    pub server: &'static str,
    /// Behind the processor time of one request.
    pub each: &'static str,
    /// Responses that lack holders.
    pub wrong: &'static str,
    /// Connections lost.
    pub lost: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> LoadReport {
        let mut counted: [Counted; COUNTED_OPS.len()] = Default::default();
        for ms in 1..=100 {
            counted[0].times.note(Duration::from_millis(ms));
        }
        counted[0].refused = 2;
        let stretch = Stretch { seconds: 2.0, own: 0.5, server: Some(0.001) };
        LoadReport {
            peers: 3,
            depth: 4,
            stretch,
            rows: LoadReport::rows(&counted, 2.0),
            files: 0,
            wrong: 0,
            lost: 0,
        }
    }

    #[test]
    fn only_what_was_asked_stands_in_the_table() {
        let figures = figures();
        assert_eq!(
            (figures.rows.len(), figures.answered(), figures.rows[0].word),
            (1, 100, "search")
        );
        assert!(
            (figures.rows[0].rate - 50.0).abs() < 1e-9
                && (figures.server_micros().unwrap() - 10.0).abs() < 1e-9
        );
        let said = News::Over(figures).say(Lang::En);
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines.len() == 3
                && lines[0].contains("p99.9 ms")
                && lines[1].contains("search")
                && lines[1].contains("50"),
            "{said}"
        );
        assert_eq!(
            lines[2],
            "3 peers, depth 4, 2.00 s; client CPU 25 %, server CPU 0 %, 10.00 µs a request"
        );
    }

    #[test]
    fn what_went_wrong_is_said_in_every_language() {
        for (lang, word) in [
            (Lang::Pt, "erradas: 1"),
            (Lang::Es, "erróneas: 1"),
            (Lang::En, "wrong answers: 1; links lost: 7"),
        ] {
            let said = News::Over(LoadReport { wrong: 1, lost: 7, ..figures() }).say(lang);
            assert!(said.contains(word), "{said}");
        }
        let stretch = Stretch { seconds: 0.5, own: 0.0, server: None };
        assert_eq!(
            News::In { peers: 2, files: 100, stretch }.say(Lang::En),
            "2 peers, 100 files, 0.50 s, 200 /s"
        );
    }
}
