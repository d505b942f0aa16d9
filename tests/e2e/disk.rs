//! Full, small and read-only disks.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Dir, get_from, lone_peer, noise, run_tool};

/// A mounted tmpfs, unmounted on drop.
pub struct Mounted(PathBuf);

impl Mounted {
    /// `None`, with a reason printed, without the right to mount.
    pub fn at(path: &Path, options: &str) -> Option<Mounted> {
        let text = path.to_str().expect("a path of text");
        let output = run_tool("mount", &["-t", "tmpfs", "-o", options, "none", text])?;
        if !output.status.success() {
            println!(
                "skipped: no disk can be mounted here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return None;
        }
        Some(Mounted(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A small tmpfs.
pub struct SmallDisk(pub Dir, #[expect(dead_code, reason = "it unmounts")] Mounted);

impl SmallDisk {
    /// As [`Mounted::at`].
    pub fn mount(options: &str) -> Option<SmallDisk> {
        let dir = Dir::new();
        let mounted = Mounted::at(dir.path(), options)?;
        Some(SmallDisk(dir, mounted))
    }

    /// Fills the disk.
    pub fn fill(&self) {
        let mut ballast = File::create(self.0.at("ballast")).expect("a file");
        while ballast.write_all(&[1; 4 << 10]).is_ok() {}
    }
}

#[test]
fn a_disk_that_is_too_small_fails_at_the_start_and_leaves_no_file() {
    let Some(disk) = SmallDisk::mount("size=2m") else { return };
    let here = Dir::with("a.mp4", &noise(1, 3 << 20));
    let source = lone_peer(&here, &[]);
    let from = source.at;
    for _ in 0..2 {
        let done = get_from(&["a.mp4"], from, &disk.0);
        done.failed(7, "a.mp4");
        assert_eq!(done.err.len(), 1, "{done:#?}");
        assert_eq!(disk.0.names(), [""; 0]);
    }
}

#[test]
fn a_disk_that_fills_up_during_a_download_is_7_and_resumes_with_room() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let (here, source) = {
        let here = Dir::with("a.mp4", &noise(2, 3 << 20));
        let source = lone_peer(&here, &[]);
        (here, source)
    };
    let from = source.at;
    disk.0.write("ballast", &[1; 2 << 20]);
    // Without preallocation the shortage shows when the disk is full.
    let done = get_from(&["a.mp4", "--allocate", "none"], from, &disk.0);
    done.failed(7, "the disk is full");
    assert!(!disk.0.has("a.mp4"));
    assert_eq!(disk.0.read("ballast").len(), 2 << 20);
    std::fs::remove_file(disk.0.at("ballast")).expect("the ballast goes");
    get_from(&["a.mp4"], from, &disk.0).succeeded();
    assert!(disk.0.read("a.mp4") == here.read("a.mp4"));
    assert_eq!(disk.0.names(), ["a.mp4"]);
}

#[test]
fn a_disk_without_any_room_is_7_and_leaves_no_file() {
    let Some(disk) = SmallDisk::mount("size=64k") else { return };
    disk.0.write("ballast", &[1; 64 << 10]);
    let here = Dir::with("a.mp4", b"a few bytes");
    let source = lone_peer(&here, &[]);
    let done = get_from(&["a.mp4"], source.at, &disk.0);
    done.failed(7, "");
    assert_eq!(disk.0.names(), ["ballast"]);
}

#[test]
fn a_read_only_disk_is_7() {
    let Some(disk) = SmallDisk::mount("size=1m,ro") else { return };
    let here = Dir::with("a.mp4", b"a few bytes");
    let source = lone_peer(&here, &[]);
    let done = get_from(&["a.mp4"], source.at, &disk.0);
    done.failed(7, "");
    assert_eq!(done.err.len(), 1, "{done:#?}");
}

#[test]
fn a_peer_shares_a_read_only_disk() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    disk.0.write("a.mp4", b"only to be read");
    let remounted = run_tool("mount", &["-o", "remount,ro", disk.0.text()]);
    assert!(remounted.is_some_and(|output| output.status.success()));
    let source = lone_peer(&disk.0, &[]);
    assert_eq!(crate::native::Native::open(source.at).fetch("a.mp4"), b"only to be read");
}
