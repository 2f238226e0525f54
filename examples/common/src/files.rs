//! Files and folders that are there in full or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file or folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// An input.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An output.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    /// An input that cannot be read.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Read { path, source }
    }

    /// An output that cannot be written.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Write { path, source }
    }
}

/// Scratch folders start with this; what a killed run left of them is removed by the next.
const SCRATCH: &str = ".scratch-";

/// Puts what `build` makes (a file or a folder) at `path` in one step: built in a scratch sibling, then renamed.
///
/// # Errors
/// If it cannot be built or put there; what was there stays.
pub fn publish(path: &Path, build: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FileError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || {
        let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(parent)?;
        let built = scratch.path().join("built");
        build(&built)?;
        fs::rename(&built, path)
    };
    attempt().map_err(FileError::write(path))
}

/// Writes a file and waits until it is on the disk.
///
/// # Errors
/// Of the file system.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes the scratch folders of a run that was killed while it wrote.
///
/// # Errors
/// If the folder cannot be read or a scratch folder not be removed.
pub fn remove_scratch(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::read(folder))? {
        let path = entry.map_err(FileError::read(folder))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH)) {
            fs::remove_dir_all(&path).map_err(FileError::write(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        publish(&path, |scratch| write_synced(scratch, b"first")).unwrap();
        publish(&path, |scratch| write_synced(scratch, b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_build_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"old").unwrap();
        let result = publish(&path, |scratch| {
            fs::write(scratch, b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(matches!(result, Err(FileError::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
