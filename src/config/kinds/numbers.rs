//! Numbers, sizes, times and shares, each with a least and a most.

use std::time::Duration;

use super::super::units;
use super::{Kind, Raw, Shape, shown};

/// Something with a least and a most.
fn within<T: PartialOrd + Copy>(
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if value < least {
        Err(format!(
            "is {}, but at least {} makes sense",
            show(value),
            show(least)
        ))
    } else if value > most {
        Err(format!(
            "is {}, but at most {} makes sense",
            show(value),
            show(most)
        ))
    } else {
        Ok(value)
    }
}

/// A number of things.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// The least that makes sense.
    pub least: usize,
    /// The most that makes sense.
    pub most: usize,
}

impl Kind for Count {
    type Value = usize;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "NUMBER";

    fn form(&self) -> String {
        format!("number, {} to {}", self.least, self.most)
    }

    fn read(&self, raw: &Raw) -> Result<usize, String> {
        let text = raw.one();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        let number =
            number.ok_or_else(|| format!("{} is no whole number such as 1000", shown(text)))?;
        within(number, self.least, self.most, |number| number.to_string())
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// The least that makes sense.
    pub least: usize,
    /// The most that makes sense.
    pub most: usize,
}

impl Kind for Bytes {
    type Value = usize;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "SIZE";

    fn form(&self) -> String {
        let [least, most] = [self.least, self.most].map(units::show_bytes);
        format!("size, {least} to {most}")
    }

    fn read(&self, raw: &Raw) -> Result<usize, String> {
        let text = raw.one();
        let size = units::bytes(text).ok_or_else(|| {
            format!(
                "{} is no size: write 64MiB, 512KiB, 1GB or plain bytes",
                shown(text)
            )
        })?;
        within(size, self.least, self.most, units::show_bytes)
    }
}

/// How long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// The least that makes sense.
    pub least: Duration,
    /// The most that makes sense.
    pub most: Duration,
}

impl Kind for Time {
    type Value = Duration;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "TIME";

    fn form(&self) -> String {
        let [least, most] = [self.least, self.most].map(units::show_time);
        format!("time, {least} to {most}")
    }

    fn read(&self, raw: &Raw) -> Result<Duration, String> {
        let text = raw.one();
        let time = units::time(text).ok_or_else(|| {
            format!(
                "{} is no time: write 250ms, 10s, 5m, 1h30m or 14d",
                shown(text)
            )
        })?;
        within(time, self.least, self.most, units::show_time)
    }
}

/// A share between nothing and all.
#[derive(Debug, Clone, Copy)]
pub struct Ratio;

impl Kind for Ratio {
    type Value = f64;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "NUMBER";

    fn form(&self) -> String {
        "number, 0 to 1".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<f64, String> {
        let text = raw.one();
        let number = text.parse().ok();
        number
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .ok_or_else(|| format!("{} is no number between 0 and 1, such as 0.1", shown(text)))
    }
}
