//! A message definition as read from JSON, narrowed to the versions that are served.
//! Invariant: no field is kept that no served version carries.

use std::error::Error;
use std::path::Path;

use serde_json::Value;

use crate::apis::NEVER_NULL_BY_DEFAULT;
use crate::text::{snake_case, without_comments};

/// First and last version of something, both in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    const NONE: Versions = Versions { min: 0, max: -1 };

    fn parse(text: &str) -> Result<Versions, Box<dyn Error>> {
        if text == "none" {
            return Ok(Versions::NONE);
        }
        if let Some(min) = text.strip_suffix('+') {
            return Ok(Versions { min: min.parse()?, max: i16::MAX });
        }
        match text.split_once('-') {
            Some((min, max)) => Ok(Versions { min: min.parse()?, max: max.parse()? }),
            None => Ok(Versions { min: text.parse()?, max: text.parse()? }),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub(crate) fn and(self, other: Versions) -> Versions {
        Versions { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    /// The Rust condition on `version` that holds in `self`, given that it lies in `within`; `None` if always.
    pub(crate) fn condition(self, within: Versions) -> Option<String> {
        let (min, max) = (self.min, self.max);
        match (min <= within.min, max >= within.max) {
            (true, true) => None,
            (false, true) => Some(format!("version >= {min}")),
            (true, false) if max == within.min => Some(format!("version == {max}")),
            (true, false) => Some(format!("version <= {max}")),
            (false, false) if min == max => Some(format!("version == {min}")),
            (false, false) => Some(format!("({min}..={max}).contains(&version)")),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    Bool,
    /// `i8`, `i16`, `u16`, `i32` or `i64`.
    Int(&'static str),
    Uuid,
    String,
    /// `bytes` and `records`: the same on the wire.
    Bytes,
    Struct(Struct),
    Array(Box<Type>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Struct {
    pub name: String,
    /// The versions that carry it.
    pub versions: Versions,
    pub fields: Vec<Field>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    /// In Rust's spelling.
    pub name: String,
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Versions,
    /// The tag, where the field is a tagged one.
    pub tag: Option<u32>,
    /// The definition's default, as written there.
    pub default: Option<String>,
}

impl Field {
    pub(crate) fn is_nullable(&self) -> bool {
        !self.nullable.is_empty()
    }
}

pub(crate) struct Message {
    pub key: i16,
    /// The first version in the flexible encoding.
    pub flexible_from: i16,
    pub body: Struct,
}

impl Message {
    /// Reads a definition and narrows it to `served`.
    pub(crate) fn load(file: &Path, served: (i16, i16)) -> Result<Message, Box<dyn Error>> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let json: Value = serde_json::from_str(&without_comments(&text))?;
        let valid = Versions::parse(string(&json, "validVersions")?)?;
        let served = Versions { min: served.0, max: served.1 };
        if valid.and(served) != served {
            return Err(format!("{}: has {valid:?}, asked for {served:?}", file.display()).into());
        }
        let flexible = Versions::parse(string(&json, "flexibleVersions")?)?;
        Ok(Message {
            key: i16::try_from(json["apiKey"].as_i64().ok_or("apiKey is missing")?)?,
            flexible_from: if flexible.is_empty() { i16::MAX } else { flexible.min },
            body: Struct {
                name: string(&json, "name")?.to_owned(),
                versions: served,
                fields: fields(&json, served, &json["commonStructs"])?,
            },
        })
    }

    /// Gives structs of a response that have the name of another one in the request names of their own.
    pub(crate) fn tell_apart(&mut self, request: &Message) {
        let mut taken = Vec::new();
        request.body.walk(&mut |each| taken.push(each.clone()));
        self.body.rename(&taken);
    }
}

impl Struct {
    fn walk(&self, seen: &mut impl FnMut(&Struct)) {
        seen(self);
        for inner in self.fields.iter().filter_map(|field| field.ty.inner()) {
            inner.walk(seen);
        }
    }

    fn rename(&mut self, taken: &[Struct]) {
        if taken.iter().any(|other| other.name == self.name && other != self) {
            self.name.push_str("Response");
        }
        for field in &mut self.fields {
            let mut ty = &mut field.ty;
            while let Type::Array(element) = ty {
                ty = element;
            }
            if let Type::Struct(inner) = ty {
                inner.rename(taken);
            }
        }
    }
}

impl Type {
    /// The struct that it is, or is an array of.
    pub(crate) fn inner(&self) -> Option<&Struct> {
        match self {
            Type::Struct(inner) => Some(inner),
            Type::Array(element) => element.inner(),
            Type::Bool | Type::Int(_) | Type::Uuid | Type::String | Type::Bytes => None,
        }
    }
}

fn fields(parent: &Value, within: Versions, common: &Value) -> Result<Vec<Field>, Box<dyn Error>> {
    let mut out = Vec::new();
    for json in parent["fields"].as_array().ok_or("a struct without fields")? {
        // A field that does not say is in every version of its struct.
        let versions = Versions::parse(json["versions"].as_str().unwrap_or("0+"))?.and(within);
        if versions.is_empty() {
            continue;
        }
        let nullable = match json["nullableVersions"].as_str() {
            Some(text) => Versions::parse(text)?.and(versions),
            None => Versions::NONE,
        };
        let tag = json["tag"].as_u64().map(u32::try_from).transpose()?;
        if tag.is_some() && (Versions::parse(string(json, "taggedVersions")?)?.and(versions) != versions) {
            return Err("a field that is tagged in some versions only is not supported".into());
        }
        let name = string(json, "name")?;
        let default = match &json["default"] {
            Value::Null => None,
            Value::String(_) if NEVER_NULL_BY_DEFAULT.contains(&name) => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let ty = parse_type(string(json, "type")?, json, versions, common)?;
        out.push(Field { name: snake_case(name), ty, versions, nullable, tag, default });
    }
    Ok(out)
}

fn parse_type(text: &str, field: &Value, versions: Versions, common: &Value) -> Result<Type, Box<dyn Error>> {
    if let Some(element) = text.strip_prefix("[]") {
        return Ok(Type::Array(Box::new(parse_type(element, field, versions, common)?)));
    }
    Ok(match text {
        "bool" => Type::Bool,
        "int8" => Type::Int("i8"),
        "int16" => Type::Int("i16"),
        "uint16" => Type::Int("u16"),
        "int32" => Type::Int("i32"),
        "int64" => Type::Int("i64"),
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" | "records" => Type::Bytes,
        name if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
            let shared = common.as_array().and_then(|all| all.iter().find(|each| each["name"] == name));
            let fields = fields(shared.unwrap_or(field), versions, common)?;
            Type::Struct(Struct { name: name.to_owned(), versions, fields })
        }
        other => return Err(format!("type {other} is not supported").into()),
    })
}

fn string<'a>(json: &'a Value, key: &str) -> Result<&'a str, Box<dyn Error>> {
    json[key].as_str().ok_or_else(|| format!("{key} is missing in {}", json["name"]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_as_short_as_the_served_range_allows() {
        let within = Versions { min: 3, max: 13 };
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Versions::parse(text).unwrap().condition(within).as_deref(), expected, "{text}");
        };
        check("0+", None);
        check("3-13", None);
        check("8+", Some("version >= 8"));
        check("13+", Some("version >= 13"));
        check("0-12", Some("version <= 12"));
        check("5-7", Some("(5..=7).contains(&version)"));
    }
}
