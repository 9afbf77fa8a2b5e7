//! Lines of output: each for a reader or as one JSON object. Owns how bytes of records are shown: escaped and cut.

use std::io::{self, Write};

use serde_json::Value;

/// What lines look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Text for people; may change.
    Human,
    /// One JSON object a line, its kind in `type`.
    Json,
}

/// Where lines go.
pub(crate) struct Lines<'a> {
    form: Form,
    out: &'a mut dyn Write,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(form: Form, out: &'a mut dyn Write) -> Lines<'a> {
        Lines { form, out }
    }

    /// One line; only the form that is wanted is made.
    pub(crate) fn line(&mut self, human: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> io::Result<()> {
        match self.form {
            Form::Human => writeln!(self.out, "{}", human()),
            Form::Json => writeln!(self.out, "{}", json()),
        }
    }
}

/// Bytes as text: what is not printable ASCII is escaped, what is long is cut, with its length.
pub(crate) fn text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    match bytes.len() > shown.len() {
        true => format!("\"{}\"... ({} bytes)", shown.escape_ascii(), bytes.len()),
        false => format!("\"{}\"", shown.escape_ascii()),
    }
}

/// Bytes that may be missing.
pub(crate) fn nullable_text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), text)
}

/// As [`text`], for a JSON field that has its length beside it.
pub(crate) fn nullable_json(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| bytes[..bytes.len().min(TEXT_BYTES_MAX)].escape_ascii().to_string().into())
}

const TEXT_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_escaped_and_cut() {
        assert_eq!(text(b"a\"b\n\xff"), r#""a\"b\n\xff""#);
        assert_eq!(text(&[b'x'; 101]), format!("\"{}\"... (101 bytes)", "x".repeat(100)));
        assert_eq!(nullable_text(None), "null");
        assert_eq!(nullable_json(Some(b"")), Value::from(""));
        assert_eq!(nullable_json(None), Value::Null);
    }
}
