//! Files and folders that are there in full or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;

/// Scratch folders start with this; what a killed run left of them is removed by the next.
const SCRATCH: &str = ".scratch-";

/// Puts what `build` makes (a file or a folder) at `path` in one step: built in a scratch sibling, then renamed.
pub fn publish(path: &Path, build: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || {
        let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(parent)?;
        let built = scratch.path().join("built");
        build(&built)?;
        fs::rename(&built, path)
    };
    attempt().map_err(Error::write(path))
}

/// Writes a file and waits until it is on the disk.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes the scratch folders of a run that was killed while it wrote.
pub fn remove_scratch(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH)) {
            fs::remove_dir_all(&path).map_err(Error::write(&path))?;
        }
    }
    Ok(())
}

/// FNV-1a (Fowler, Noll, Vo): tells a damaged or exchanged file from the one that was written.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    fingerprint_from(FINGERPRINT, bytes)
}

/// The fingerprint of nothing.
pub const FINGERPRINT: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on from the fingerprint of what comes before.
pub fn fingerprint_from(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_fnv1a() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }

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
        assert!(matches!(result, Err(Error::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
