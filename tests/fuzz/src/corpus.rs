//! Inputs on disk: seeds to read, failures to write. Seeds are read in the order of their names.

use std::error::Error;
use std::path::{Path, PathBuf};

/// All inputs in a directory; one empty input if it does not exist.
pub(crate) fn load(directory: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut inputs = vec![Vec::new()];
    if directory.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            files.push(entry?.path());
        }
        files.sort();
        for file in files {
            inputs.push(read(&file)?);
        }
    }
    Ok(inputs)
}

/// One input.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if file.extension().is_some_and(|extension| extension == "hex") {
        return from_hex(&bytes).ok_or_else(|| format!("{}: not hexadecimal", file.display()).into());
    }
    Ok(bytes)
}

/// Writes an input under `target/fuzz`, named after its content.
pub(crate) fn save_failure(target: &str, input: &[u8]) -> Result<PathBuf, Box<dyn Error>> {
    let directory = Path::new("target/fuzz");
    std::fs::create_dir_all(directory)?;
    // FNV-1a: the name only has to differ between inputs.
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let file = directory.join(format!("{target}-{hash:016x}.hex"));
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&file, hex)?;
    Ok(file)
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_with_its_line_ends() {
        assert_eq!(from_hex(b"00ff\n1A\n"), Some(vec![0x00, 0xff, 0x1a]));
        assert_eq!(from_hex(b"0"), None);
        assert_eq!(from_hex(b"xy"), None);
    }
}
