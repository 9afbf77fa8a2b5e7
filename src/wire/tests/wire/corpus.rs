//! Writes the seeds of the fuzz corpus, when asked: `cargo test -p wire --test wire -- --ignored`.

use std::path::Path;

use wire::request_frame;

use crate::samples::{default_requests, requests};
use crate::{encoded_request, versions};

#[test]
#[ignore = "writes tests/fuzz/corpus"]
fn write_fuzz_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let write = |target: &str, name: String, bytes: &[u8]| {
        std::fs::create_dir_all(corpus.join(target)).expect("a directory");
        std::fs::write(corpus.join(target).join(name), bytes).expect("a file");
    };
    for (kind, bodies) in [("sample", requests()), ("default", default_requests())] {
        for body in bodies {
            let api = body.key().api();
            // The ends of the range, and both sides of the step to the flexible encoding.
            let steps = [api.min, api.flexible_from - 1, api.flexible_from, api.max];
            for version in versions(api.key).filter(|version| steps.contains(version)) {
                let name = format!("{}-{version}-{kind}", api.name);
                let frame = request_frame(api.key, version, 7, Some("client"), |writer| body.encode(writer, version));
                if kind == "sample" && version == api.max {
                    write("wire_frame", name.clone(), &frame);
                }
                write("wire_request", name.clone(), &frame[4..]);
                if kind == "default" && version == api.max {
                    let header = request_frame(api.key, version, 7, Some("client"), |_| {});
                    write("wire_header", name.clone(), &header[4..]);
                }
                let mut versioned = version.to_be_bytes().to_vec();
                versioned.extend(encoded_request(&body, version));
                match api.key {
                    wire::ApiKey::Produce => write("wire_produce_view", name, &versioned),
                    wire::ApiKey::Fetch => write("wire_fetch_view", name, &versioned),
                    _ => {}
                }
            }
        }
    }
}
