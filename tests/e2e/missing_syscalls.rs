//! Systems and sandboxes that lack system calls, and process limits: transfers work without the
//! calls, and a limit ends a download but never a peer. A seccomp filter installed before exec
//! returns the errors.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::harness::{Dir, Process, cardume, finish, noise, server};
use crate::provider::{Content, PIECE, Provider};

/// Makes these system calls of the process fail with these errors.
fn answering(mut command: Command, answers: &[(libc::c_long, i32)]) -> Command {
    let filter = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    let (load, equal, answer) = (0x20, 0x15, 0x06);
    let mut program = vec![filter(load, 0, 0, 0)];
    for (call, error) in answers {
        program.push(filter(equal, 0, 1, u32::try_from(*call).expect("a number of a call")));
        program.push(filter(answer, 0, 0, 0x0005_0000 | u32::try_from(*error).expect("an error")));
    }
    program.push(filter(answer, 0, 0, 0x7fff_0000));
    // SAFETY: two system calls between fork and exec, without allocation.
    unsafe {
        command.pre_exec(move || {
            let rules = libc::sock_fprog {
                len: u16::try_from(program.len()).unwrap_or(0),
                filter: program.as_ptr().cast_mut(),
            };
            let done = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const rules)
                    == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        })
    };
    command
}

/// Sets a resource limit of the process.
fn limited(mut command: Command, resource: libc::__rlimit_resource_t, most: u64) -> Command {
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            if libc::setrlimit(resource, &raw const limit) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        })
    };
    command
}

fn get(name: &str, server: &str, there: &Dir, words: &[&str]) -> Command {
    let mut all = vec!["get", name, "--server", server, "--folder", there.text(), "--json"];
    all.extend(words);
    cardume(all)
}

const OPTIONAL: [libc::c_long; 11] = [
    libc::SYS_fallocate,
    libc::SYS_sync_file_range,
    libc::SYS_preadv2,
    451,
    libc::SYS_flock,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_fadvise64,
    libc::SYS_mincore,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
];

#[test]
fn transfers_work_without_every_optional_syscall() {
    let server = server();
    let at = server.at.to_string();
    for error in [libc::ENOSYS, libc::EOPNOTSUPP, libc::EINVAL, libc::EPERM] {
        let answers: Vec<_> = OPTIONAL.iter().map(|call| (*call, error)).collect();
        let content = noise(1, 9 * PIECE + 5);
        let (here, there) = (Dir::with("a.mp4", &content), Dir::new());
        let source = Process::start(answering(
            cardume([
                "peer",
                "--server",
                &at,
                "--listen",
                "127.0.0.1:0",
                "--folder",
                here.text(),
                "--lang",
                "pt",
            ]),
            &answers,
        ));
        source.wait_for_stdout("Sou peer");
        let done = finish(Process::start(answering(get("a.mp4", &at, &there, &[]), &answers)));
        done.succeeded();
        assert!(there.read("a.mp4") == content, "{error}");
        assert_eq!(there.names(), ["a.mp4"]);
    }
}

#[test]
fn keys_are_random_without_getrandom() {
    let key = |error| {
        let data = Dir::new();
        let command = cardume(["server", "url", "127.0.0.1", "--data", data.text()]);
        let done = finish(Process::start(answering(command, &[(libc::SYS_getrandom, error)])));
        done.succeeded().out[0].clone()
    };
    // The key of a secret of zeros.
    let zeros = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik";
    let keys = [key(libc::ENOSYS), key(libc::ENOSYS), key(libc::EPERM)];
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "{keys:?}");
    assert!(keys.iter().all(|url| !url.contains(zeros)), "{keys:?}");
}

#[test]
fn transfers_work_without_each_syscall_that_mounted_drives_refuse() {
    let server = server();
    let what = Content::new("a.mp4", &noise(2, 3 * PIECE + 5));
    let _joined = Provider::honest(&what).join_server(server.at, &what.file());
    let odd = [
        vec![(libc::SYS_renameat2, libc::EINVAL), (libc::SYS_linkat, libc::EIO)],
        vec![
            (libc::SYS_renameat2, libc::EINVAL),
            (libc::SYS_linkat, libc::EPERM),
            (libc::SYS_fsync, libc::EINVAL),
        ],
        vec![
            (libc::SYS_renameat2, libc::EIO),
            (libc::SYS_linkat, libc::EOPNOTSUPP),
            (libc::SYS_fsync, libc::ENOSYS),
        ],
        vec![(libc::SYS_fsync, libc::EINVAL), (libc::SYS_fdatasync, libc::EINVAL)],
        vec![(libc::SYS_flock, libc::ENOLCK), (libc::SYS_fstatfs, libc::ENOSYS)],
    ];
    for answers in odd {
        let there = Dir::new();
        let done = finish(Process::start(answering(
            get("a.mp4", &server.at.to_string(), &there, &[]),
            &answers,
        )));
        what.is_saved(&done, &there);
        // An existing file is never overwritten, whichever rename call works.
        let there = Dir::with("a.mp4", b"mine");
        let done = finish(Process::start(answering(
            get("a.mp4", &server.at.to_string(), &there, &[]),
            &answers,
        )));
        assert_eq!((done.code, there.read("a.mp4")), (7, b"mine".to_vec()), "{done:#?}");
    }
}

#[test]
fn a_full_or_failing_disk_ends_the_download_with_7() {
    let server = server();
    let what = Content::new("a.mp4", &noise(3, 3 * PIECE + 5));
    let _joined = Provider::honest(&what).join_server(server.at, &what.file());
    for call in [libc::SYS_pwrite64, libc::SYS_fdatasync, libc::SYS_renameat2, libc::SYS_fallocate]
    {
        for error in [libc::ENOSPC, libc::EDQUOT] {
            let there = Dir::new();
            let done = finish(Process::start(answering(
                get("a.mp4", &server.at.to_string(), &there, &[]),
                &[(call, error)],
            )));
            assert_eq!(done.code, 7, "{call} {error} {done:#?}");
            assert!(
                done.out.iter().any(|line| line.contains("disk is full")),
                "{call} {error} {done:#?}"
            );
            assert!(!there.has("a.mp4"));
            // The same command resumes once there is room.
            let done = finish(Process::start(get("a.mp4", &server.at.to_string(), &there, &[])));
            what.is_saved(&done, &there);
        }
    }
}

#[test]
fn a_file_size_limit_ends_the_download_and_not_the_peer() {
    let server = server();
    let (what, small) =
        (Content::new("a.mp4", &noise(4, 5 * PIECE)), Content::new("b.mp4", &noise(5, PIECE)));
    let _joined =
        [&what, &small].map(|what| Provider::honest(what).join_server(server.at, &what.file()));
    for words in [&["--allocate", "none"][..], &[]] {
        let there = Dir::new();
        let done = finish(Process::start(limited(
            get("a.mp4", &server.at.to_string(), &there, words),
            libc::RLIMIT_FSIZE,
            3 << 20,
        )));
        assert_eq!(done.code, 7, "{done:#?}");
        assert!(done.out.iter().any(|line| line.contains("larger than")), "{done:#?}");
        let there = Dir::new();
        let mut line =
            vec!["peer", "--listen", "127.0.0.1:0", "--lang", "en", "--folder", there.text()];
        let at = server.at.to_string();
        line.extend(["--server", &at]);
        line.extend(words);
        let mut peer = Process::start(limited(cardume(line), libc::RLIMIT_FSIZE, 3 << 20));
        peer.type_line("GET a.mp4");
        peer.wait_for_stderr("larger than");
        peer.type_line("GET b.mp4");
        peer.wait_for_stdout("b.mp4");
        crate::harness::wait_until("the small one", || there.has("b.mp4").then_some(()));
        assert!(peer.is_running());
    }
}

#[test]
fn too_few_descriptors_end_a_download_with_7_or_suffice() {
    let server = server();
    let what = Content::new("a.mp4", &noise(6, 2 * PIECE));
    let _joined = Provider::honest(&what).join_server(server.at, &what.file());
    let mut codes = Vec::new();
    for most in 6..24 {
        let there = Dir::new();
        let done = finish(Process::start(limited(
            get("a.mp4", &server.at.to_string(), &there, &[]),
            libc::RLIMIT_NOFILE,
            most,
        )));
        assert!([0, 7].contains(&done.code), "{most} {done:#?}");
        assert!(
            done.err.iter().chain(&done.out).all(|line| !line.contains("panicked")),
            "{most} {done:#?}"
        );
        codes.push(done.code);
    }
    assert!(codes.contains(&0) && codes.contains(&7), "{codes:?}");
}
