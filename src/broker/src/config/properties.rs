//! The `.properties` file syntax of Java, as configuration files use it: comments, `=`, `:` or blanks between key
//! and value, continued lines, escapes. Knows nothing of settings.

/// A line cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadEscape {
    /// The number of the (first) line, from 1.
    pub(super) line: usize,
}

/// The keys and values in the order of the file.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, BadEscape> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut line = first.to_owned();
        while continues(&line) {
            line.pop();
            // Blanks at the beginning of a continuation are indentation.
            line.push_str(lines.next().map_or("", |(_, next)| next.trim_start_matches(is_blank)));
        }
        pairs.push(split(&line).ok_or(BadEscape { line: index + 1 })?);
    }
    Ok(pairs)
}

/// An odd number of backslashes at the end: the last one is not itself escaped.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the first separator that is not escaped.
fn split(line: &str) -> Option<(String, String)> {
    let mut escaped = false;
    let is_end = |character: char| {
        let ends = !escaped && (is_blank(character) || matches!(character, '=' | ':'));
        escaped = character == '\\' && !escaped;
        ends
    };
    let end = line.find(is_end).unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Some((unescape(key)?, unescape(rest)?))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(&mut characters)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

/// Four hex digits, twice where a character needs a surrogate pair.
fn unicode(characters: &mut std::str::Chars<'_>) -> Option<char> {
    let high = unit(characters)?;
    if let Some(character) = char::from_u32(high) {
        return Some(character);
    }
    let marker = (characters.next(), characters.next());
    if marker != (Some('\\'), Some('u')) {
        return None;
    }
    let low = unit(characters)?;
    let pair = [u16::try_from(high).ok()?, u16::try_from(low).ok()?];
    char::decode_utf16(pair).next()?.ok()
}

fn unit(characters: &mut std::str::Chars<'_>) -> Option<u32> {
    let digits = characters.as_str().get(..4)?;
    *characters = characters.as_str().get(4..)?.chars();
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn separators_comments_and_blank_lines() {
        check(
            "a=1\nb:2\nc 3\n  d = 4\ne=\nf\n",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", ""), ("f", "")],
        );
        check("# no\n! no\n   # no\n\n\t\na=1 # part of the value\r\n", &[("a", "1 # part of the value")]);
        check("listeners=PLAINTEXT://:9092,A://h:1", &[("listeners", "PLAINTEXT://:9092,A://h:1")]);
        check("a  =  1  ", &[("a", "1  ")]);
        check("a==1", &[("a", "=1")]);
    }

    #[test]
    fn continued_lines_lose_their_indentation() {
        check("a=1,\\\n    2,\\\n  3\nb=4", &[("a", "1,2,3"), ("b", "4")]);
        check("a=x\\\\\nb=4", &[("a", "x\\"), ("b", "4")]);
        check("a=1\\", &[("a", "1")]);
    }

    #[test]
    fn escapes() {
        check("a\\=b\\:c\\ d=1\\t2\\n\\q", &[("a=b:c d", "1\t2\nq")]);
        check("a=\\u0041\\ud83d\\ude00", &[("a", "A😀")]);
        for bad in ["a=\\u12", "a=\\uzzzz", "a=\\ud83d", "a=\\ud83dxx", "a=\\u+123", "a=\\u1é"] {
            assert_eq!(parse(&format!("ok=1\n{bad}")), Err(BadEscape { line: 2 }), "{bad}");
        }
    }
}
