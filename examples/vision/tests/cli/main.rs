//! What the program does, seen from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// The working folder of the program, with a folder of pictures of two classes.
struct Place(TempDir);

const TINY: &[&str] = &["train", "--data=data", "--side=16", "--epochs=1", "--batch=2", "--d-model=8", "--depths=1,1"];

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for part in ["train", "test"] {
            for (class, color) in [("dark", 20), ("light", 220)] {
                for number in 0..3 {
                    place.picture(&format!("data/{part}/{class}/{number}.png"), color + number);
                }
            }
        }
        place
    }

    fn picture(&self, name: &str, color: u8) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(20, 18, Rgb([color; 3])).save(path).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vision")).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    #[track_caller]
    fn expect_success(&self, arguments: &[&str]) -> (String, String) {
        let Output { status, stdout, stderr } = self.run(arguments);
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(status.success(), "{arguments:?}: {stderr}");
        (stdout, stderr)
    }

    #[track_caller]
    fn expect_refusal(&self, arguments: &[&str], part: &str) {
        let Output { status, stderr, .. } = self.run(arguments);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_run_is_trained_measured_used_and_explained() {
    let place = Place::new();
    fs::write(place.path("data/train/dark/bad.png"), "no picture").unwrap();
    let (_, stderr) = place.expect_success(TINY);
    assert!(stderr.contains("1 of 7 images left out"), "{stderr}");
    for file in ["curves.svg", "confusion.svg", "history.jsonl"] {
        assert!(place.path("runs/vision").join(file).exists(), "{file}");
    }
    place.expect_refusal(TINY, "already holds a run");
    place.expect_refusal(&[TINY, &["--resume", "--shift=3"]].concat(), "--shift 3 conflicts with 1");
    place.expect_success(&[TINY, &["--resume"]].concat());

    let (stdout, _) = place.expect_success(&["eval", "--confusion=matrix.svg"]);
    assert!(stdout.contains("of 6 images") && place.path("matrix.svg").exists(), "{stdout}");

    // A bad picture is counted, and the others are told.
    place.picture("mine/1.png", 30);
    fs::write(place.path("mine/2.jpg"), "no picture").unwrap();
    let (stdout, stderr) = place.expect_success(&["predict", "mine", "--top=2"]);
    assert_eq!(stdout.lines().count(), 1);
    assert!(stdout.contains("dark") && stdout.contains("light"), "{stdout}");
    assert!(stderr.contains("1 of 2 images left out"), "{stderr}");
    place.expect_refusal(&["predict", "mine/2.jpg"], "is no image");

    place.expect_success(&["explain", "mine/1.png"]);
    for file in ["1-saliency.png", "receptive-field.png"] {
        assert!(image::open(place.path("runs/explain").join(file)).is_ok(), "{file}");
    }
}

#[test]
fn pictures_become_four_times_as_large() {
    let place = Place::new();
    let picture = RgbImage::from_fn(21, 18, |column, row| Rgb([column as u8 * 10, row as u8 * 10, 100]));
    picture.save(place.path("picture.png")).unwrap();
    let tiles = ["--tile=16", "--overlap=4"];
    for (output, more) in [("whole.png", &[][..]), ("tiles.png", &tiles[..]), ("image.tif", &["--compare=both.jpg"])] {
        place.expect_success(&[&["super-resolve", "picture.png", output], more].concat());
    }
    let open = |name: &str| image::open(place.path(name)).unwrap().into_rgb8();
    let (whole, tiles) = (open("whole.png"), open("tiles.png"));
    assert_eq!((whole.dimensions(), open("both.jpg").dimensions()), ((84, 72), (176, 72)));
    // Tiles see a little beyond their edges.
    let far = whole.iter().zip(tiles.iter()).map(|(x, y)| x.abs_diff(*y)).max().unwrap();
    assert!(far < 16, "{far}");
    place.expect_success(&["super-resolve", "image.tif", "again.tif", "--crop=0,0,20,17", "--bands=3,2,1"]);
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let place = Place::new();
    place.expect_refusal(&["train", "--data=nowhere"], "nowhere has no data set");
    place.expect_refusal(&["train", "--lr=7"], "--lr 7: expected");
    place.expect_refusal(&["train", "--depths=0"], "`depths` is 0");
    place.expect_refusal(&["eval"], "no checkpoint in runs/vision");
    place.expect_refusal(&["predict", "nothing.png", "--run=data"], "no checkpoint in data");
    let resolve = |more: &[&str], part: &str| {
        let input = "data/test/dark/0.png";
        place.expect_refusal(&[&["super-resolve", input, "out.png"], more].concat(), part);
    };
    resolve(&["--bands=1,2,4"], "--bands 4");
    resolve(&["--bands=1,2"], "three numbers");
    resolve(&["--crop=0,0,30,1"], "20 columns and 18 rows");
    resolve(&["--tile=1"], "--tile 1");
    resolve(&["--white=-1"], "--white -1");
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/opensr-mamba/fusionmodel01.pth");
    resolve(&["--weights", weights.to_str().unwrap()], "they look like fusionmodel01 of opensr-mamba");
    place.expect_refusal(&["super-resolve", "data/test/dark/0.png", "out.gif"], "out.gif");
    place.expect_refusal(&["super-resolve", "nothing.tif", "out.png"], "nothing.tif");
    assert!(!place.path("out.png").exists() && !place.path("runs").exists());
}
