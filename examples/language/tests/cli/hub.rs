//! Models from a hub, which is played here: a program on this machine that serves the fixtures.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::{Place, published};

/// Serves each folder of `folder` as the repository `ours/NAME`.
struct Hub {
    address: String,
    open: Arc<AtomicBool>,
}

impl Hub {
    fn of(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let open = Arc::new(AtomicBool::new(true));
        let is_open = open.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_open.load(Relaxed) {
                    // A client that has gone is its own affair.
                    let _ = answer(stream, &folder);
                }
            }
        });
        Self { address, open }
    }

    fn close(&self) {
        self.open.store(false, Relaxed);
    }

    fn run(&self, place: &Place, arguments: &[&str]) -> Output {
        let mut command = place.command(arguments);
        command.env("HF_ENDPOINT", &self.address).env("HF_HOME", place.path("cache"));
        command.output().unwrap()
    }
}

/// What hf-hub asks for: the list of files, and ranges of a file.
fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let body = match path.split('/').collect::<Vec<_>>()[..] {
        ["", "api", "models", "ours", name, ..] => fs::read_dir(folder.join(name)).map(|files| {
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
            serde_json::json!({ "siblings": siblings, "sha": "1" }).to_string().into_bytes()
        }),
        ["", "ours", name, "resolve", _, file] => fs::read(folder.join(name).join(file)),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let Ok(body) = body else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let range = headers.iter().find_map(|line| Some(line.to_lowercase().strip_prefix("range: bytes=")?.to_string()));
    let (first, last) = range.as_ref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let first: usize = first.parse().unwrap_or(0);
    let last = last.parse().unwrap_or(body.len().saturating_sub(1)).min(body.len().saturating_sub(1));
    let (status, part) = (if range.is_some() { "206 Partial Content" } else { "200 OK" }, &body[first..=last]);
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{last}/{}\r\netag: \"{path}\"\r\n\
         x-repo-commit: 1\r\nconnection: close\r\n\r\n",
        part.len(),
        body.len(),
    )?;
    stream.write_all(part)
}

#[test]
fn a_repository_gives_what_its_folder_gives_and_is_kept() {
    let (place, hub) = (Place::new(), Hub::of(published(".")));
    for name in ["deep_sharded", "untied_bin"] {
        let expected = place.expect_success(&["logits", "--ids=1,2,3", "--model", &published(name)]);
        let repository = format!("ours/{name}");
        let arguments = ["logits", "--ids=1,2,3", "--model", &repository];
        let output = hub.run(&place, &arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
    hub.close();
    let output = hub.run(&place, &["logits", "--ids=1,2,3", "--model=ours/deep_sharded"]);
    assert!(output.status.success(), "from the cache: {output:?}");
}

#[test]
fn what_is_not_there_is_named() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("empty/config.json"), "{}").unwrap();
    let hub = Hub::of(folder.path());
    for (name, expected) in [
        ("ours/absent", "cannot fetch the list of files of ours/absent"),
        ("ours/empty", "ours/empty has no weights, expected model.safetensors or"),
    ] {
        let output = hub.run(&place, &["info", "--model", name]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(stderr.contains(expected), "{name}: {stderr}");
    }
}
