//! Holds the dependency table of ARCHITECTURE.md against the graph that Cargo sees.
//! A room that gains a dependency must be given it in the table first; a room without a row may not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Room -> the rooms it may (table) or does (Cargo) depend on.
type Rooms = BTreeMap<String, BTreeSet<String>>;

const ANY: &str = "any";
const NONE: &str = "-";

#[test]
fn every_room_depends_only_on_what_the_table_allows() {
    let allowed = table(&read("ARCHITECTURE.md"));
    let actual = graph();
    let mut wrong = Vec::new();
    for (room, dependencies) in &actual {
        match allowed.get(room) {
            None => wrong.push(format!("{room} has no row in the table")),
            Some(may) if may.contains(ANY) => {}
            Some(may) => {
                wrong.extend(dependencies.difference(may).map(|other| format!("{room} may not depend on {other}")));
            }
        }
    }
    for room in allowed.keys().filter(|room| !actual.contains_key(*room)) {
        wrong.push(format!("{room} has a row in the table, but there is no such room"));
    }
    for (room, may) in &allowed {
        let known = |other: &&String| *other == ANY || actual.contains_key(*other);
        wrong.extend(may.iter().filter(|other| !known(other)).map(|other| format!("{room}: {other} is no room")));
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md and Cargo disagree:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_table_row_is_a_room_and_a_list_of_rooms() {
    let text = "x\n<!-- dependencies -->\n| room | may depend on | must never know |\n|---|---|---|\n\
                | `a` | - | b |\n| c | `a`, d | |\n| e | any | |\n<!-- /dependencies -->\n| f | a | |\n";
    let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
    let expected = [("a", set(&[])), ("c", set(&["a", "d"])), ("e", set(&["any"]))];
    assert_eq!(table(text), expected.map(|(room, may)| (room.to_string(), may)).into_iter().collect::<Rooms>());
}

/// The rows between the markers, header and rule left out.
fn table(text: &str) -> Rooms {
    let (_, rest) = text.split_once("<!-- dependencies -->").expect("the table's opening marker");
    let (body, _) = rest.split_once("<!-- /dependencies -->").expect("the table's closing marker");
    let rows = body.lines().map(str::trim).filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        let room = cells.next().expect("split yields at least one cell");
        let may = cells.next().unwrap_or_else(|| panic!("the row of {room} has no second column"));
        let names = may.split(',').map(|name| name.trim().to_string());
        (room, names.filter(|name| !name.is_empty() && name != NONE).collect())
    })
    .collect()
}

/// The packages of this workspace and the normal dependencies between them.
fn graph() -> Rooms {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_string();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let internal = |dependency: &Value| dependency["kind"].is_null() && dependency["path"].is_string();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            (name(package), dependencies.iter().filter(|dependency| internal(dependency)).map(name).collect())
        })
        .collect()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
