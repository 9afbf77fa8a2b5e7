//! What the table says about one setting, and the check that a text is a value of it.

use std::fmt;

/// A setting's type, as Kafka's DescribeConfigs names types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
#[allow(missing_docs)]
pub enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

/// Which values of its type a setting takes.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Bounds {
    Any,
    AtLeast(i64),
    Range(i64, i64),
    /// A real number from 0.
    UpTo(f64),
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
}

/// What the broker does with a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It does what it says.
    Now,
    /// It is kept and shown; what it governs does not exist here.
    Never,
    /// Kafka had it before version 4.
    Retired,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name; `corelog.` where Kafka has none.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// `None`: not set, which is shown as null.
    pub default: Option<&'static str>,
    /// Values beyond these are malformed.
    pub bounds: Bounds,
    /// Values beyond these are Kafka's, but not ours: they would change a behaviour that we do not have. Empty: all are.
    pub only: &'static [&'static str],
    /// Whether it can be changed while the broker runs, for all brokers and for one.
    pub dynamic: bool,
    /// Whether setting it does something.
    pub effect: Effect,
    /// One sentence, empty where it has no effect.
    pub doc: &'static str,
}

/// What is wrong with a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// Nobody has a setting of this name.
    Unknown {
        /// The known name that looks most like it.
        nearest: Option<&'static str>,
    },
    /// The text is no value of the setting.
    Malformed {
        /// The text, unless it may be a secret.
        value: Option<String>,
        /// What it should be.
        expected: String,
    },
    /// A value that Kafka takes and this broker has no behaviour for.
    Refused {
        /// The value.
        value: String,
        /// What can be had instead, or why not.
        instead: String,
    },
}

impl Setting {
    /// A setting that is known, kept and shown.
    pub(super) const fn known(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        bounds: Bounds,
    ) -> Setting {
        Setting { name, kind, default, bounds, only: &[], dynamic: false, effect: Effect::Never, doc: "" }
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Setting {
        self.effect = Effect::Now;
        self.doc = doc;
        self
    }

    pub(super) const fn dynamic(mut self) -> Setting {
        self.dynamic = true;
        self
    }

    pub(super) const fn only(mut self, values: &'static [&'static str]) -> Setting {
        self.only = values;
        self
    }

    /// Whether its value must not be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether its value is a list, which can be added to and taken from.
    pub fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    /// One line about it.
    pub fn documentation(&self) -> &'static str {
        match (self.doc, self.effect) {
            ("", Effect::Retired) => "A setting of Kafka before version 4: accepted, without effect.",
            ("", _) => "A setting of Kafka: accepted and shown, without effect here.",
            (doc, _) => doc,
        }
    }

    /// Whether the text is a value that this broker takes.
    pub fn check(&self, value: &str) -> Result<(), Problem> {
        if !self.is_well_formed(value) {
            let shown = (!self.is_sensitive()).then(|| value.to_owned());
            return Err(Problem::Malformed { value: shown, expected: self.expected() });
        }
        let value = value.trim();
        if !self.only.is_empty() && !self.only.iter().any(|only| only.eq_ignore_ascii_case(value)) {
            let instead = match self.only {
                [""] => "this broker does not have it".to_owned(),
                only => format!("this broker has only '{}'", only.join("' or '")),
            };
            return Err(Problem::Refused { value: value.to_owned(), instead });
        }
        Ok(())
    }

    fn is_well_formed(&self, value: &str) -> bool {
        let trimmed = value.trim();
        match self.kind {
            Kind::Boolean => parse_boolean(trimmed).is_some(),
            Kind::Int | Kind::Short | Kind::Long => {
                let (min, max) = self.range();
                trimmed.parse::<i64>().is_ok_and(|number| min <= number && number <= max)
            }
            Kind::Double => trimmed.parse::<f64>().is_ok_and(|number| match self.bounds {
                Bounds::UpTo(max) => (0.0..=max).contains(&number),
                Bounds::AtLeast(min) => number.is_finite() && number >= min as f64,
                _ => number.is_finite(),
            }),
            Kind::String | Kind::List | Kind::Class | Kind::Password => match self.bounds {
                Bounds::OneOf(values) => values.contains(&trimmed),
                Bounds::ListOf(values) => list(trimmed).all(|item| values.contains(&item)),
                _ => true,
            },
        }
    }

    /// The range of a whole number.
    fn range(&self) -> (i64, i64) {
        let (least, most) = match self.kind {
            Kind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Short => (i64::from(i16::MIN), i64::from(i16::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        match self.bounds {
            Bounds::AtLeast(min) => (min, most),
            Bounds::Range(min, max) => (min, max),
            _ => (least, most),
        }
    }

    /// What a value looks like, for messages and for the settings page.
    pub fn expected(&self) -> String {
        let article = match self.kind {
            Kind::Boolean => return "true or false".to_owned(),
            Kind::Int | Kind::Short | Kind::Long => "a whole number",
            Kind::Double => "a number",
            Kind::String | Kind::Class | Kind::Password => "a text",
            Kind::List => "a list",
        };
        match self.bounds {
            Bounds::Any => match (self.kind, self.range()) {
                (Kind::Int | Kind::Short, (min, max)) => format!("{article} from {min} to {max}"),
                _ => article.to_owned(),
            },
            Bounds::AtLeast(min) => format!("{article} from {min}"),
            Bounds::Range(min, max) => format!("{article} from {min} to {max}"),
            Bounds::UpTo(max) => format!("{article} from 0 to {max}"),
            Bounds::OneOf(values) => format!("one of {}", values.join(", ")),
            Bounds::ListOf(values) => format!("a list of {}", values.join(", ")),
        }
    }
}

/// The items of a list value.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Kafka's spelling of a truth value, in any case.
pub(super) fn parse_boolean(value: &str) -> Option<bool> {
    match value.trim() {
        value if value.eq_ignore_ascii_case("true") => Some(true),
        value if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unknown { nearest: Some(nearest) } => write!(f, "no such setting; did you mean {nearest}?"),
            Problem::Unknown { nearest: None } => write!(f, "no such setting"),
            Problem::Malformed { value: Some(value), expected } => {
                write!(f, "'{}' is not {expected}", value.escape_debug())
            }
            Problem::Malformed { value: None, expected } => write!(f, "the value is not {expected}"),
            Problem::Refused { value, instead } => write!(f, "'{}' is refused: {instead}", value.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(kind: Kind, bounds: Bounds, value: &str) -> bool {
        Setting::known("name", kind, None, bounds).check(value).is_ok()
    }

    #[test]
    fn values_are_checked_against_type_and_bounds() {
        for (kind, bounds, good, bad) in [
            (Kind::Boolean, Bounds::Any, &["true", " FALSE "][..], &["yes", "", "1"][..]),
            (Kind::Int, Bounds::Any, &["2147483647", " -5 "], &["2147483648", "1.0", "", "0x1"]),
            (Kind::Short, Bounds::AtLeast(1), &["1", "32767"], &["0", "32768"]),
            (Kind::Long, Bounds::AtLeast(-1), &["-1", "9223372036854775807"], &["-2", "9223372036854775808"]),
            (Kind::Int, Bounds::Range(1, 9), &["1", "9"], &["0", "10"]),
            (Kind::Double, Bounds::UpTo(1.0), &["0.5", "1"], &["1.1", "-0.1", "NaN"]),
            (Kind::Double, Bounds::AtLeast(1), &["1.5", "1.7976931348623157E308"], &["0.9", "-1", "NaN", "inf"]),
            (Kind::String, Bounds::OneOf(&["a", "b"]), &["a"], &["c", "A"]),
            (Kind::List, Bounds::ListOf(&["a", "b"]), &["a,b", "", " b "], &["a,c"]),
            (Kind::Password, Bounds::Any, &["anything"], &[]),
        ] {
            good.iter().for_each(|value| assert!(accepts(kind, bounds, value), "{kind:?} {value:?}"));
            bad.iter().for_each(|value| assert!(!accepts(kind, bounds, value), "{kind:?} {value:?}"));
        }
    }

    #[test]
    fn kafkas_values_without_a_behaviour_here_are_refused_not_malformed() {
        let setting = Setting::known("compression.type", Kind::String, None, Bounds::OneOf(&["gzip", "producer"]))
            .only(&["producer"]);
        assert_eq!(setting.check("producer"), Ok(()));
        let problem = setting.check("gzip").expect_err("not ours");
        assert_eq!(problem.to_string(), "'gzip' is refused: this broker has only 'producer'");
        let problem = setting.check("brotli").expect_err("not Kafka's");
        assert_eq!(problem.to_string(), "'brotli' is not one of gzip, producer");
    }
}
