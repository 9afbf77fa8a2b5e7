//! Text chores: names, and comments in JSON.

/// `TopicData` and `timeoutMs` become `topic_data` and `timeout_ms`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, character) in name.chars().enumerate() {
        if character.is_ascii_uppercase() {
            if at > 0 {
                out.push('_');
            }
            out.push(character.to_ascii_lowercase());
        } else {
            out.push(character);
        }
    }
    out
}

/// JSON without its `//` comments; `//` inside a string stays.
pub(crate) fn without_comments(json: &str) -> String {
    let mut out = String::new();
    for line in json.lines() {
        let mut quoted = false;
        let mut end = line.len();
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                // The definitions escape no quotes.
                b'"' => quoted = !quoted,
                b'/' if !quoted && line[at..].starts_with("//") => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        out.push_str(&line[..end]);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        assert_eq!(snake_case("TopicData"), "topic_data");
        assert_eq!(snake_case("timeoutMs"), "timeout_ms");
    }

    #[test]
    fn comments_go_and_strings_stay() {
        assert_eq!(without_comments("a // b\n\"c//d\" // e"), "a \n\"c//d\" \n");
    }
}
