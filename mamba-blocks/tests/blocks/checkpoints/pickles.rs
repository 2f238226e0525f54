//! Hostile pickles, and archives with another pickle inside.

use super::{copy, folder};
use mamba_blocks::{CheckpointError, MambaLm};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Names and bytes. They run commands where a pickle is executed, lie about lengths, or use what PyTorch never does.
pub const HOSTILE: &[(&str, &[u8])] = &[
    ("reduce", b"\x80\x02cos\nsystem\nX\x18\x00\x00\x00touch hostile_pickle_ran\x85R."),
    ("stack global", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x18touch hostile_pickle_ran\x85R."),
    ("inst", b"(S'touch hostile_pickle_ran'\nios\nsystem\n."),
    ("obj", b"(cos\nsystem\nX\x18\x00\x00\x00touch hostile_pickle_rano."),
    ("newobj", b"\x80\x02cos\nsystem\nX\x18\x00\x00\x00touch hostile_pickle_ran\x85\x81."),
    ("newobj with keywords", b"\x80\x04cos\nsystem\n)}\x92."),
    ("build", b"\x80\x02cos\nsystem\n)R}X\x01\x00\x00\x00aK\x01sb."),
    ("extension", b"\x80\x02\x82\x01."),
    ("large extension", b"\x80\x02\x84\xff\xff\xff\x7f."),
    ("next buffer", b"\x80\x05\x97\x98."),
    ("long string", b"\x80\x02X\xff\xff\xff\x7fx."),
    ("longer string", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx."),
    ("long bytes", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx."),
    ("long byte array", b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fx."),
    ("negative bytes", b"\x80\x02B\xff\xff\xff\xffx."),
    ("long frame", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}."),
    ("long integer", b"\x80\x02\x8b\xff\xff\xff\x7f\x01."),
    ("negative integer length", b"\x80\x02\x8b\xff\xff\xff\xff\x01."),
    ("memo far away", b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xff."),
    ("memo that is not there", b"\x80\x02h\x07."),
    ("memo by text", b"}p18446744073709551616\ng18446744073709551616\n."),
    ("empty stack", b"\x80\x02tRbsue."),
    ("no mark", b"\x80\x02K\x01t."),
    ("no end", b"\x80\x02}q\x00("),
    ("nothing", b""),
    ("end only", b"."),
    ("unknown opcode", b"\x80\x02\xff\xfe."),
    ("future protocol", b"\x80\xff}."),
    ("a list inside of itself", b"\x80\x02]q\x00h\x00a."),
    ("a dictionary of itself", b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."),
    ("foreign persistent id", b"\x80\x02K\x01Q."),
    ("persistent text", b"Pstorage\n."),
    (
        "a tensor beyond its storage",
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
          X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x02(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft(K\x01K\x00t\x89}tRs.",
    ),
    (
        "a tensor of negative sizes",
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
          X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQJ\xff\xff\xff\xff(J\xff\xff\xff\xffK\x02t(J\xff\xff\xff\xffK\x00t\x89}tRs.",
    ),
];

/// `archive` with its `data.pkl` changed, and sound otherwise.
pub fn with_pickle(archive: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut from = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut to = ZipWriter::new(Cursor::new(Vec::new()));
    let mut change = Some(change);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for index in 0..from.len() {
        let mut entry = from.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if name.ends_with("/data.pkl") {
            change.take().expect("there is one pickle")(&mut bytes);
        }
        to.start_file(name, stored).unwrap();
        to.write_all(&bytes).unwrap();
    }
    to.finish().unwrap().into_inner()
}

#[test]
fn an_archive_written_again_is_the_same_checkpoint() {
    let place = copy("narrow_original");
    let path = place.path().join("pytorch_model.bin");
    let archive = with_pickle(&fs::read(&path).unwrap(), |pickle| assert!(pickle.len() > 100));
    fs::write(&path, archive).unwrap();
    MambaLm::from_pretrained(place.path(), &crate::device()).unwrap();
}

#[test]
fn hostile_pickles_are_refused_and_not_run() {
    let original = fs::read(folder("narrow_original").join("pytorch_model.bin")).unwrap();
    for (name, pickle) in HOSTILE {
        let archive = with_pickle(&original, |inside| *inside = pickle.to_vec());
        for file in [archive, pickle.to_vec()] {
            let place = copy("narrow_original");
            fs::write(place.path().join("pytorch_model.bin"), file).unwrap();
            let error = MambaLm::from_pretrained(place.path(), &crate::device()).expect_err(name);
            println!("{name}: {error}");
            let typed = matches!(error, CheckpointError::Damaged { .. } | CheckpointError::Tensors { .. });
            assert!(typed || matches!(error, CheckpointError::TooLarge { .. }), "{name}: {error:?}");
        }
    }
    assert!(!Path::new("hostile_pickle_ran").exists());
}
