//! `state_dir/health.log`: appended to, and written anew when most of it is old.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::line::Line;
use crate::state::store::set_aside;

const FILE: &str = "health.log";
/// Longer than any that is written here, escapes included: a file of something
/// else must not be read into memory as one line.
const MAX_LINE_BYTES: u64 = 16_384;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// In the file, as far as it was written here.
    lines: usize,
}

/// What was in the file.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) lines: Vec<Line>,
    /// Its last line has no end: a crash came in between.
    pub(super) is_torn: bool,
}

impl Log {
    /// With what is in the file; a file that cannot be read is set aside, with a
    /// warning.
    pub(super) fn open(state_dir: &Path) -> (Self, Read, Option<String>) {
        let path = state_dir.join(FILE);
        let (read, warning) = match read(&path) {
            Ok(read) => (read, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Read::default(), None),
            Err(error) => {
                let outcome = set_aside(&path);
                let warning = format!("history of health {}: {error}; {outcome}", path.display());
                (Read::default(), Some(warning))
            }
        };
        let lines = read.lines.len();
        (Self { path, lines }, read, warning)
    }

    pub(super) const fn lines(&self) -> usize {
        self.lines
    }

    /// In one write. After an error a part may be there.
    pub(super) fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        file.write_all(&text(lines))?;
        self.lines += lines.len();
        Ok(())
    }

    /// In one step; after an error the old file is still there.
    pub(super) fn write_anew(&mut self, lines: &[Line]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&text(lines))?;
        // Else the rename may reach the disk before what is in the file.
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        self.lines = lines.len();
        Ok(())
    }
}

fn text(lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        line.write_to(&mut text);
    }
    text
}

fn read(path: &Path) -> io::Result<Read> {
    let mut file = BufReader::new(File::open(path)?);
    let mut read = Read::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let n = file
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut bytes)?;
        let number = read.lines.len() + 1;
        let is_whole = bytes.pop_if(|last| *last == b'\n').is_some();
        if !is_whole && n as u64 == MAX_LINE_BYTES {
            return Err(io::Error::other(format!("line {number}: too long")));
        }
        if !is_whole {
            read.is_torn = n > 0;
            return Ok(read);
        }
        let line = Line::parse(&bytes)
            .map_err(|problem| io::Error::other(format!("line {number}: {problem}")))?;
        read.lines.push(line);
    }
}
