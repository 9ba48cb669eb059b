//! A workload: runs that look like the real thing, made up from a seed.
//!
//! There is no clock here. A [`Plan`] says what a run tells, and after how many
//! milliseconds; somebody else plays it. The same settings give the same runs,
//! event for event.
//!
//! - [`event`]: engine events, as the wire has them
//! - [`plan`]: what one run will say
//! - `scripts`: what the server's scripts do
//! - `pen`, `call`: how a run is written
//! - `model`, `failure`: whom it asks, and what goes wrong

mod call;
pub mod event;
mod failure;
mod model;
mod pen;
pub mod plan;
mod scripts;
#[cfg(test)]
mod tests;

use std::time::Duration;

use fastrand::Rng;

pub(in crate::sim) use self::model::cost_usd;
pub use self::plan::{Plan, Step};

use self::failure::{Fate, Trouble};
use self::scripts::{Facts, REVIEW, SCRIPTS, SUMMARISE, Script, TRANSLATE};

/// What the runs are like.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadSettings {
    /// What all chance comes from.
    pub seed: u64,
    /// When runs begin by themselves.
    pub arrivals: Arrivals,
    /// Runs that begin by themselves, altogether; 0 is no end of them.
    pub runs_total: u64,
    /// How much faster than in earnest all goes: a person who takes two minutes
    /// takes twelve seconds at 10.
    pub speed: f64,
    /// The projects, numbered from 1, to which the scripts are dealt out.
    pub projects: u32,
    /// The scripts that there are; empty is all of [`script_names`].
    pub scripts: Vec<String>,
    /// The part of all runs that fail, from 0 to 1.
    pub failure_share: f64,
    /// Pieces of an answer in a second, whatever the speed.
    pub chunks_per_second: f64,
    /// The least size of a piece of an answer, for load.
    pub chunk_bytes_min: usize,
    /// Whether the end of a run tells what it cost. The engine by itself does
    /// not know; a server may fill it in.
    pub totals_tell_cost: bool,
}

/// When runs begin by themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Never: somebody starts them.
    None,
    /// So many a minute, unevenly.
    PerMinute(f64),
    /// So many are always open.
    AtOnce(usize),
}

impl Default for WorkloadSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            arrivals: Arrivals::PerMinute(20.0),
            runs_total: 0,
            speed: 10.0,
            projects: 1,
            scripts: Vec::new(),
            failure_share: 0.12,
            chunks_per_second: 30.0,
            chunk_bytes_min: 0,
            totals_tell_cost: false,
        }
    }
}

/// The names of all scripts.
pub fn script_names() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|script| script.name)
}

/// Makes up runs.
#[derive(Debug)]
pub struct Workload {
    settings: WorkloadSettings,
    /// Runs that began by themselves, and runs that somebody asked for.
    arrived: u64,
    asked: u64,
}

/// A run that begins by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// How long after the one before.
    pub after: Duration,
    /// The run.
    pub plan: Plan,
}

/// Things that a workload draws of one seed must not be alike.
const ASKED: u64 = 1 << 63;

/// The first runs, so that a newcomer soon sees a good one, a failed one and a
/// long one: then chance has it.
const OPENING: [(&Script, Fate); 4] = [
    (&SUMMARISE, Fate::Well),
    (&TRANSLATE, Fate::Fails(Trouble::RateLimit)),
    (&REVIEW, Fate::Well),
    (&TRANSLATE, Fate::Hiccup(Trouble::Unavailable)),
];
const OPENING_GAP: Duration = Duration::from_millis(600);

impl Workload {
    /// A workload at its beginning.
    pub const fn new(settings: WorkloadSettings) -> Self {
        Self {
            settings,
            arrived: 0,
            asked: 0,
        }
    }

    /// The next run that begins by itself, while there is one.
    pub fn arrive(&mut self) -> Option<Arrival> {
        let total = self.settings.runs_total;
        if self.settings.arrivals == Arrivals::None || (total > 0 && self.arrived >= total) {
            return None;
        }
        let number = self.arrived;
        self.arrived += 1;
        let mut rng = self.rng(number);
        let after = self.gap(&mut rng, number);
        let opening = usize::try_from(number).ok().and_then(|n| OPENING.get(n));
        let opening = opening.filter(|(script, _)| self.homes(script).next().is_some());
        let (script, fate) = match opening {
            Some((script, Fate::Fails(_))) if self.settings.failure_share == 0.0 => {
                (*script, Fate::Well)
            }
            Some((script, fate)) => (*script, *fate),
            None => (self.draw_script(&mut rng)?, self.draw_fate(&mut rng)),
        };
        let homes: Vec<_> = self.homes(script).collect();
        let project_id = *homes.get(rng.usize(..homes.len().max(1)))?;
        Some(Arrival {
            after,
            plan: self.plan(script, project_id, rng, fate),
        })
    }

    /// A run that somebody asks for; `None` where there is no such script.
    pub fn plan_for(&mut self, project_id: i64, script: &str) -> Option<Plan> {
        let script = (SCRIPTS.into_iter()).find(|known| known.name == script)?;
        self.homes(script).find(|home| *home == project_id)?;
        let mut rng = self.rng(ASKED | self.asked);
        self.asked += 1;
        let fate = self.draw_fate(&mut rng);
        Some(self.plan(script, project_id, rng, fate))
    }

    /// The scripts of a project.
    pub fn scripts_of(&self, project_id: i64) -> impl Iterator<Item = &'static str> {
        let theirs = move |script: &&Script| self.homes(script).any(|home| home == project_id);
        (SCRIPTS.into_iter().filter(theirs)).map(|script| script.name)
    }

    fn plan(&self, script: &Script, project_id: i64, mut rng: Rng, fate: Fate) -> Plan {
        let people = ["schedule", "ines", "studio", "webhook:git", "tomasz", "api"];
        let facts = Facts {
            execution_id: pen::uuid(&mut rng),
            project_id,
            channel: if rng.u8(..10) == 0 {
                "draft"
            } else {
                "production"
            }
            .to_owned(),
            triggered_by: people[rng.usize(..people.len())].to_owned(),
            parent: None,
        };
        script.plan(facts, rng, self.settings.clone(), fate)
    }

    fn rng(&self, number: u64) -> Rng {
        // Neighbouring seeds and numbers give streams that have nothing in common.
        let mixed =
            (self.settings.seed ^ number.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Rng::with_seed(mixed ^ number)
    }

    fn gap(&self, rng: &mut Rng, number: u64) -> Duration {
        let Arrivals::PerMinute(rate) = self.settings.arrivals else {
            return Duration::ZERO;
        };
        if number == 0 {
            return Duration::ZERO;
        }
        // Arrivals that know nothing of each other, without the very long waits.
        let spread = -(1.0 - rng.f64()).ln();
        let gap =
            Duration::from_secs_f64((60.0 / rate * spread.clamp(0.05, 3.0)).min(GAP_SECS_MAX));
        if number < OPENING.len() as u64 {
            return gap.min(OPENING_GAP);
        }
        gap
    }

    /// The projects that have a script: each script is in one, unless there are
    /// more projects than scripts.
    fn homes(&self, script: &Script) -> impl Iterator<Item = i64> + use<> {
        let wanted = &self.settings.scripts;
        let there = wanted.is_empty() || wanted.iter().any(|name| name == script.name);
        let place = SCRIPTS.iter().position(|known| known.name == script.name);
        let dealt = i64::from(self.settings.projects).clamp(1, SCRIPTS.len() as i64);
        let home = place.map_or(0, |place| place as i64 % dealt);
        let projects = 1..=i64::from(self.settings.projects);
        projects.filter(move |project| there && (project - 1) % dealt == home)
    }

    fn draw_script(&self, rng: &mut Rng) -> Option<&'static Script> {
        let there: Vec<_> = (SCRIPTS.into_iter())
            .filter(|script| self.homes(script).next().is_some())
            .collect();
        let sum: u32 = there.iter().map(|script| script.weight).sum();
        let mut drawn = rng.u32(..sum.max(1));
        there.into_iter().find(|script| {
            let found = drawn < script.weight;
            drawn = drawn.saturating_sub(script.weight);
            found
        })
    }

    fn draw_fate(&self, rng: &mut Rng) -> Fate {
        if rng.f64() < self.settings.failure_share {
            return Fate::Fails(Trouble::any(rng));
        }
        match rng.u8(..100) {
            0..8 => Fate::Hiccup(Trouble::passing(rng)),
            _ => Fate::Well,
        }
    }
}

/// A day: runs that come more rarely come never.
const GAP_SECS_MAX: f64 = 86_400.0;
