//! Share the files that a text file names: one `name path` a line. Downloads go to a folder as
//! usual.
//!
//! A line `[GROUP,GROUP]` names the groups that may see the files of the lines below, up to the
//! next such line; `[]` returns to the usual groups. Below, a line `FOLDER/` without a path is for
//! all shared files in that folder.
//!
//! The name ends at the first blank; the rest of the line is the path, relative to the manifest's
//! folder unless absolute. The manifest is read once. The last part of a path is never followed
//! through a link. Its folder is opened again each time, so that the operator may replace the
//! folder.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::io::traits::{Descriptor, SourceRef};
use crate::os::fs::folder::Folder;
use crate::os::fs::part_file::Allocate;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::member::Groups;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::storage::exclude::Excludes;
use crate::storage::fs_trait::{
    Barred, Condition, DirEntryKind, FileStat, Filesystem, Found, FsChange, FsError, FsFile,
    PosterJob,
};
use crate::storage::share_groups::ShareGroups;

/// Size of a manifest: some 100,000 lines, each of which costs a stat before the loop starts.
const MANIFEST_BYTES: u64 = 16 << 20;
/// Files of a manifest checked per call: under 5 ms.
const STATS_PER_SCAN: usize = 500;

/// The files that a manifest names.
#[derive(Clone, Debug)]
pub struct Manifest {
    lines: Rc<BTreeMap<String, ManifestPlace>>,
    /// The name of each file by its absolute path.
    paths: Rc<BTreeMap<String, String>>,
    /// Groups by name or folder, as in [`ShareGroups`].
    groups: BTreeMap<String, Groups>,
}

/// Where a file is.
#[derive(Debug, PartialEq, Eq)]
struct ManifestPlace {
    folder: String,
    file: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// The file cannot be read; the reason as the system gives it.
    Unread(String),
    /// This line, counted from 1, is not `name path`.
    Line(usize, String),
    /// The file of this line does not exist.
    Missing(usize, String),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestError::Unread(why) => f.write_str(why),
            ManifestError::Line(number, why) => write!(f, "line {number}: {why}"),
            ManifestError::Missing(number, path) => {
                write!(f, "line {number}: {}: no such file", printable(path))
            }
        }
    }
}

impl Manifest {
    /// Reads the manifest at `path`; `recursive`: names may contain folders.
    ///
    /// # Errors
    /// The first wrong line.
    pub fn read(path: &Path, recursive: bool) -> Result<Manifest, ManifestError> {
        let unread = |error: io::Error| ManifestError::Unread(error.to_string());
        let mut text = String::new();
        let read = File::open(path)
            .map_err(unread)?
            .take(MANIFEST_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(unread)?;
        if read as u64 > MANIFEST_BYTES {
            return Err(ManifestError::Unread(format!(
                "a manifest has at most {} MiB",
                MANIFEST_BYTES >> 20
            )));
        }
        let beside =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut lines = BTreeMap::new();
        let (mut groups, mut section) = (BTreeMap::new(), Groups::default());
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |why: String| ManifestError::Line(number, why);
            if let Some(names) = section_of(line) {
                let names = names.split(',').filter(|_| !names.is_empty());
                section = Groups::parse(names).ok_or_else(|| {
                    wrong(format!("{}: not a list of groups", printable(line.trim())))
                })?;
                continue;
            }
            // A path never ends so.
            if let Some(folder) = line.trim().strip_suffix('/').filter(|_| !section.is_empty()) {
                RelativeName::new(folder)
                    .map_err(|why| wrong(format!("{}: {why}", printable(folder))))?;
                if !recursive {
                    return Err(wrong(format!("{folder}: a name with folders needs --recursive")));
                }
                if groups.insert(format!("{folder}/"), section.clone()).is_some() {
                    return Err(wrong(format!("{folder}: this name came before")));
                }
                continue;
            }
            let (name, rest) = line
                .split_once([' ', '\t'])
                .ok_or_else(|| wrong("expected a name, a blank and a path".into()))?;
            let checked = RelativeName::new(name)
                .map_err(|why| wrong(format!("{}: {why}", printable(name))))?;
            if checked.is_hidden() {
                return Err(wrong(format!("{name}: what begins with a dot is not shared")));
            }
            if !recursive && name.contains('/') {
                return Err(wrong(format!("{name}: a name with folders needs --recursive")));
            }
            let place = place(&beside.join(rest.trim())).ok_or_else(|| {
                wrong(format!("{}: not the path of a file", printable(rest.trim())))
            })?;
            match place.find(name).map(|found| found.barred) {
                None => return Err(ManifestError::Missing(number, rest.trim().to_owned())),
                Some(Some(Barred::Secret)) => {
                    return Err(wrong(format!(
                        "{}: a secret key is not shared",
                        printable(rest.trim())
                    )));
                }
                // The file may become readable later.
                Some(_) => {}
            }
            if lines.insert(name.to_owned(), place).is_some() {
                return Err(wrong(format!("{name}: this name came before")));
            }
            if !section.is_empty() {
                groups.insert(name.to_owned(), section.clone());
            }
        }
        let absolute = |(name, place): (&String, &ManifestPlace)| {
            let path = std::path::absolute(Path::new(&place.folder).join(&place.file)).ok()?;
            Some((path.to_str()?.to_owned(), name.clone()))
        };
        let paths = Rc::new(lines.iter().filter_map(absolute).collect());
        Ok(Manifest { lines: Rc::new(lines), paths, groups })
    }

    /// The groups of the share; `usual` for all other files.
    #[must_use]
    pub fn groups(&self, usual: Groups) -> ShareGroups {
        ShareGroups { usual, by_name: self.groups.clone() }
    }

    /// Combines the manifest with a folder for downloads; `shared`: share the files of that folder
    /// as well, unless the manifest uses the name.
    #[must_use]
    pub fn with(&self, folder: Rc<dyn Filesystem>, shared: bool) -> ManifestFolder {
        ManifestFolder {
            manifest: self.clone(),
            folder,
            shared,
            arrived: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    /// The named files that exist now.
    fn found(&self) -> impl Iterator<Item = Found> + 'static {
        let mut last: Option<String> = None;
        let lines = Rc::clone(&self.lines);
        std::iter::from_fn(move || {
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let (name, place) = lines.range::<str, _>((from, Bound::Unbounded)).next()?;
            last = Some(name.clone());
            Some(place.find(name))
        })
        .flatten()
    }
}

/// The text between the brackets of a line of groups.
fn section_of(line: &str) -> Option<&str> {
    let names = line.trim().strip_prefix('[')?.strip_suffix(']')?;
    // With a blank, the line has a name and a path.
    (!names.contains([' ', '\t'])).then_some(names)
}

fn place(path: &Path) -> Option<ManifestPlace> {
    let text = path.to_str().filter(|text| !text.ends_with('/'))?;
    Some(ManifestPlace {
        folder: Path::new(text).parent()?.to_str()?.to_owned(),
        file: path.file_name()?.to_str()?.to_owned(),
    })
}

impl ManifestPlace {
    fn open(&self) -> io::Result<Folder> {
        Folder::open(&self.folder, Allocate::None).map_err(|_| io::ErrorKind::NotFound.into())
    }

    /// The file of this name.
    fn find(&self, name: &str) -> Option<Found> {
        let found = self.open().ok()?.find(&self.file)?;
        Some(Found { name: name.to_owned(), ..found })
    }
}

/// The files of a manifest, and a folder for all writes.
pub struct ManifestFolder {
    manifest: Manifest,
    folder: Rc<dyn Filesystem>,
    shared: bool,
    /// Finished downloads, which are shared even if the folder is not.
    arrived: RefCell<BTreeSet<String>>,
    seen: RefCell<Seen>,
}

/// The last known state of the named files. The system does not report their changes, so a few are
/// polled at a time.
#[derive(Default)]
struct Seen {
    stamps: BTreeMap<String, Option<FileStat>>,
    /// The file that was polled last.
    last: Option<String>,
}

impl ManifestFolder {
    fn place(&self, name: &str) -> Option<&ManifestPlace> {
        self.manifest.lines.get(name)
    }

    /// True when a file of the folder may be shared under this name.
    fn may_give(&self, name: &str) -> bool {
        self.shared || self.arrived.borrow().contains(name)
    }

    /// Those of the next files that have changed.
    fn changed(&self) -> Vec<FsChange> {
        let Seen { stamps, last } = &mut *self.seen.borrow_mut();
        let mut changed = Vec::new();
        for _ in 0..STATS_PER_SCAN.min(self.manifest.lines.len()) {
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self
                .manifest
                .lines
                .range::<str, _>((from, Bound::Unbounded))
                .next()
                .or_else(|| self.manifest.lines.first_key_value());
            let Some((name, place)) = next else { break };
            let stamp = place.find(name).map(|found| found.stamp);
            if stamps.insert(name.clone(), stamp).is_some_and(|before| before != stamp) {
                changed.push(FsChange::File(name.clone()));
            }
            *last = Some(name.clone());
        }
        changed
    }
}

impl Filesystem for ManifestFolder {
    fn list(
        &self,
        recursive: bool,
    ) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        let named = self.manifest.found().map(Ok);
        if !self.shared {
            return Ok(Box::new(named));
        }
        let lines = Rc::clone(&self.manifest.lines);
        let is_free = move |found: &io::Result<Found>| {
            found.as_ref().map_or(true, |found| !lines.contains_key(&found.name))
        };
        match self.folder.list(recursive) {
            Ok(listing) => Ok(Box::new(named.chain(listing.filter(is_free)))),
            // Files elsewhere still exist.
            Err(FsError::NoFolder) => Ok(Box::new(named)),
            Err(error) => Err(error),
        }
    }

    fn find(&self, name: &str) -> Option<Found> {
        self.place(name).map_or_else(
            || self.folder.find(name).filter(|_| self.may_give(name)),
            |place| place.find(name),
        )
    }

    fn name_of(&self, path: &str) -> Option<String> {
        let listed = self.manifest.paths.get(path).cloned();
        listed.or_else(|| self.folder.name_of(path).filter(|name| self.may_give(name)))
    }

    fn watch(&self, recursive: bool) -> io::Result<()> {
        // The next listing is the base for the first changes.
        let stamps = self.manifest.found().map(|found| (found.name, Some(found.stamp))).collect();
        *self.seen.borrow_mut() = Seen { stamps, last: None };
        if self.shared { self.folder.watch(recursive) } else { Ok(()) }
    }

    fn changes(&self) -> Vec<FsChange> {
        let mut changes = self.folder.changes();
        changes.retain(|change| change.name().is_none_or(|name| self.place(name).is_none()));
        changes.extend(self.changed());
        changes
    }

    fn changes_descriptor(&self) -> Option<Descriptor> {
        self.folder.changes_descriptor().filter(|_| self.shared)
    }

    fn condition(&self) -> Condition {
        if self.shared { self.folder.condition() } else { Condition::default() }
    }

    fn exclude(&self, excludes: &Excludes) {
        self.folder.exclude(excludes);
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        match self.place(name) {
            Some(place) => place.open()?.open(&place.file),
            None if self.may_give(name) => self.folder.open(name),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        self.folder.open_part(name)
    }

    fn look(&self, name: &str) -> io::Result<DirEntryKind> {
        match self.place(name) {
            // A download of this name has no place: it would replace the file of the manifest.
            Some(place) => Ok(place
                .find(name)
                .map_or(DirEntryKind::Other, |found| DirEntryKind::File(found.stamp.size))),
            None => self.folder.look(name),
        }
    }

    fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>> {
        self.folder.stamp_at(name)
    }

    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        self.folder.read_small(name, most)
    }

    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.folder.replace_small(name, content)
    }

    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>> {
        self.folder.write(name, create)
    }

    fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>> {
        self.place(name)
            .map_or_else(|| self.folder.read(name), |place| place.open()?.read(&place.file))
    }

    fn begin_poster(
        &self,
        name: &str,
        program: &Path,
        at_ms: u64,
        now: Instant,
    ) -> io::Result<Box<dyn PosterJob>> {
        match self.place(name) {
            Some(place) => place.open()?.begin_poster(&place.file, program, at_ms, now),
            None => self.folder.begin_poster(name, program, at_ms, now),
        }
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        if self.place(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.folder.rename_new(from, to)?;
        self.arrived.borrow_mut().insert(to.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.folder.free_bytes()
    }

    fn durable_every(&self) -> u64 {
        self.folder.durable_every()
    }

    fn boot(&self) -> String {
        self.folder.boot()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with two files, a manifest of these lines, and a download folder with the file
    /// `own`.
    fn read(lines: &str, recursive: bool) -> (tempfile::TempDir, Result<Manifest, ManifestError>) {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("far away")).unwrap();
        fs::create_dir(top.path().join("down")).unwrap();
        for (file, text) in [
            ("far away/one two.mp4", "one"),
            ("here.txt", "here"),
            ("down/own", "own"),
            ("down/b", "the folder's"),
        ] {
            fs::write(top.path().join(file), text).unwrap();
        }
        symlink("here.txt", top.path().join("link")).unwrap();
        let list = top.path().join("list.txt");
        fs::write(&list, lines.replace("TOP", top.path().to_str().unwrap())).unwrap();
        let manifest = Manifest::read(&list, recursive);
        (top, manifest)
    }

    fn named(lines: &str, shared: bool) -> (tempfile::TempDir, ManifestFolder) {
        let (top, manifest) = read(lines, false);
        let folder =
            Folder::open(top.path().join("down").to_str().unwrap(), Allocate::None).unwrap();
        (top, manifest.unwrap().with(Rc::new(folder), shared))
    }

    fn listed(named: &ManifestFolder) -> Vec<String> {
        let mut names: Vec<String> =
            named.list(false).unwrap().map(|found| found.unwrap().name).collect();
        names.sort();
        names
    }

    const LINES: &str = "a.mp4 far away/one two.mp4\r\n\nb  TOP/here.txt\n";

    #[test]
    fn named_files_are_shared_from_their_folders() {
        let (top, named) = named(LINES, false);
        assert_eq!(listed(&named), ["a.mp4", "b"]);
        assert_eq!(named.find("b").unwrap().stamp.size, 4);
        assert_eq!(named.open("a.mp4").unwrap().size, 3);
        let mut bytes = [0; 4];
        assert_eq!(named.read("b").unwrap().read_at(0, &mut bytes).unwrap(), 4);
        assert_eq!(&bytes, b"here");
        // A poster is made from the file that the manifest names.
        for (name, is_there) in [("b", true), ("own", true), ("c", false)] {
            let job = named.begin_poster(name, Path::new("/bin/true"), 0, Instant::now());
            assert_eq!(job.is_ok(), is_there, "{name}");
        }
        // Files of the folder are not shared, but downloads are.
        assert!(named.find("own").is_none() && named.open("own").is_err());
        named.write("c.part", true).unwrap();
        named.rename_new("c.part", "c").unwrap();
        assert!(named.find("c").is_some() && named.open("c").is_ok());
        fs::remove_file(top.path().join("here.txt")).unwrap();
        symlink("far away/one two.mp4", top.path().join("here.txt")).unwrap();
        assert!(named.find("b").is_none() && named.open("b").is_err() && named.read("b").is_err());
    }

    #[test]
    fn a_folder_shares_the_names_that_the_manifest_does_not_use() {
        let (_top, named) = named(LINES, true);
        assert_eq!(listed(&named), ["a.mp4", "b", "own"]);
        assert_eq!(named.open("b").unwrap().size, 4);
    }

    #[test]
    fn no_download_replaces_a_named_file() {
        let (top, named) = named(LINES, false);
        assert_eq!(named.look("a.mp4").unwrap(), DirEntryKind::File(3));
        named.write("a.mp4.part", true).unwrap().write_at(0, b"new").unwrap();
        assert_eq!(
            named.rename_new("a.mp4.part", "a.mp4").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        named.rename_new("a.mp4.part", "c.mp4").unwrap();
        assert_eq!(fs::read(top.path().join("down/c.mp4")).unwrap(), b"new");
    }

    #[test]
    fn a_change_of_a_named_file_is_reported_once() {
        let (top, named) = named(LINES, true);
        named.watch(false).unwrap();
        assert_eq!(named.changes(), []);
        fs::write(top.path().join("here.txt"), "longer").unwrap();
        assert_eq!(named.changes(), [FsChange::File("b".into())]);
        assert_eq!(named.changes(), []);
        fs::remove_file(top.path().join("here.txt")).unwrap();
        assert_eq!(named.changes(), [FsChange::File("b".into())]);
        // A change of the folder's own file `b` is not reported.
        fs::write(top.path().join("down/b"), "other").unwrap();
        fs::write(top.path().join("down/d"), "new").unwrap();
        assert_eq!(named.changes(), [FsChange::File("d".into())]);
    }

    #[test]
    fn lines_below_a_list_of_groups_are_for_these_groups() {
        let lines = "a here.txt\n[turma-a,public]\nb here.txt\n S/T/ \nS/c here.txt\n[]\n\
                     d here.txt\n[all]\nS/x y/\n[e] here.txt\n";
        let (_top, manifest) = read(lines, true);
        let manifest = manifest.unwrap();
        let share = manifest.groups(Groups::parse(["usual"]).unwrap());
        for (name, groups) in [
            ("a", "usual"),
            ("b", "public,turma-a"),
            ("S/T/x", "public,turma-a"),
            ("S/T", "usual"),
            ("S/c", "public,turma-a"),
            ("d", "usual"),
            ("S/x y/z", "all"),
            ("[e]", "all"),
        ] {
            assert_eq!(share.of(name).to_string(), groups, "{name}");
        }
        let shared: Vec<&str> = manifest.lines.keys().map(String::as_str).collect();
        assert_eq!(shared, ["S/c", "[e]", "a", "b", "d"]);
        assert_eq!(
            read("a here.txt", false).1.unwrap().groups(Groups::default()),
            ShareGroups::default()
        );
    }

    #[test]
    fn an_error_has_the_number_of_the_wrong_line() {
        for (lines, number) in [
            ("a here.txt\nb\n", 2),
            ("../a here.txt", 1),
            ("a.part here.txt", 1),
            (".a here.txt", 1),
            ("S/a here.txt", 1),
            ("a here.txt\n\na here.txt", 3),
            ("a far away/", 1),
            ("a ..", 1),
            (" here.txt", 1),
            ("a here.txt\n[A]\n", 2),
            ("[a,]", 1),
            ("[a\n", 1),
            ("[a]\nS/", 2),
            ("S/", 1),
        ] {
            assert!(
                matches!(read(lines, false).1, Err(ManifestError::Line(at, _)) if at == number),
                "{lines}"
            );
        }
        for lines in ["a none.txt", "a link", "a far away", "a none/x"] {
            assert!(matches!(read(lines, false).1, Err(ManifestError::Missing(1, _))), "{lines}");
        }
        for lines in ["[a]\n../", "[a]\nS//", "[a]\n/", "[a]\nS/\n[b]\nS/", "S/"] {
            assert!(matches!(read(lines, true).1, Err(ManifestError::Line(..))), "{lines}");
        }
        assert!(read("S/a here.txt", true).1.is_ok());
        assert!(matches!(
            Manifest::read(Path::new("/nowhere/at all"), false),
            Err(ManifestError::Unread(_))
        ));
    }
}
