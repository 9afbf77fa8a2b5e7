//! The settings page, `docs/settings.md`, made from the table.

use super::broker_settings::BROKER_SETTINGS;
use super::kafka_settings::{KAFKA_SETTINGS, KNOWN_PREFIXES, RETIRED_SETTINGS};
use super::setting::Setting;
use super::topic_settings::TOPIC_SETTINGS;

/// The whole page, in Markdown.
pub fn settings_page() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Broker\n\n");
    table(&mut page, BROKER_SETTINGS.iter());
    page.push_str("\n## Topic\n\nA topic that has no value of its own takes the broker's.\n\n");
    table(&mut page, TOPIC_SETTINGS.iter().map(|topic| &topic.setting).filter(|setting| !setting.doc.is_empty()));
    page.push_str("\n### Topic settings and the broker's\n\n| topic | broker, first come first |\n|---|---|\n");
    for topic in TOPIC_SETTINGS.iter().filter(|topic| !topic.synonyms.is_empty()) {
        let synonyms: Vec<_> = topic.synonyms.iter().map(|synonym| format!("`{}`", synonym.name)).collect();
        page.push_str(&format!("| `{}` | {} |\n", topic.setting.name, synonyms.join(", ")));
    }
    page.push_str("\n## Accepted without effect\n\n### Broker\n\n");
    names(&mut page, KAFKA_SETTINGS.iter());
    page.push_str(&format!("\nAnd whatever begins with `{}`.\n", KNOWN_PREFIXES.join("`, `")));
    page.push_str("\n### Topic\n\n");
    names(&mut page, TOPIC_SETTINGS.iter().map(|topic| &topic.setting).filter(|setting| setting.doc.is_empty()));
    page.push_str("\n### From before Kafka 4, broker\n\n");
    names(&mut page, RETIRED_SETTINGS.iter());
    page
}

fn table(page: &mut String, settings: impl Iterator<Item = &'static Setting>) {
    page.push_str("| name | default | value | |\n|---|---|---|---|\n");
    for setting in settings {
        let default = match setting.default {
            None => String::new(),
            Some("") => "empty".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let only = match setting.only {
            [] => String::new(),
            [""] => " Must not be set.".to_owned(),
            values => format!(" Only `{}` is taken.", values.join("`, `")),
        };
        let dynamic = if setting.dynamic { " Dynamic." } else { "" };
        let (name, expected, doc) = (setting.name, setting.expected(), setting.doc);
        page.push_str(&format!("| `{name}` | {default} | {expected} | {doc}{only}{dynamic} |\n"));
    }
}

fn names(page: &mut String, settings: impl Iterator<Item = &'static Setting>) {
    settings.for_each(|setting| page.push_str(&format!("- `{}`\n", setting.name)));
}

const INTRODUCTION: &str = "\
# Settings

This page is made from the table in the program; `corelog start --help-config` prints it.

Names are Apache Kafka's; `corelog.` stands before the few that Kafka has not. Values come, each winning over those
before, from the defaults, from the properties file (`--config FILE`), from environment variables (`KAFKA_LOG_DIRS` is `log.dirs`:
`_` stands for a dot, `__` for an underscore, `___` for a dash) and from `--set name=value`.

A name that nobody has is an error. A name that Kafka has and this broker has no use for is accepted, shown and warned
about once. A value that would need a behaviour that this broker does not have is refused.

Topic settings, and those of the broker that are called dynamic, can be changed while the broker runs: for a topic, for
this broker, or for all that have no value of their own. The topic's value wins over the broker's, that over the one for
all brokers, that over what the broker was started with. The others keep the value that they had at the start.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_made_from_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
        if std::env::var_os("WRITE_SETTINGS_PAGE").is_some() {
            std::fs::write(path, settings_page()).expect("the page can be written");
        }
        let committed = std::fs::read_to_string(path).expect("the page is committed");
        assert!(committed == settings_page(), "docs/settings.md is out of date: test with WRITE_SETTINGS_PAGE=1");
    }
}
