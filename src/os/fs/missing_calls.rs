//! System calls that may be missing: on an old kernel, on some file systems (FUSE, network mounts),
//! or in a sandbox. The program works without each of them.

use std::io;

use rustix::io::Errno;

/// True for the errors of a system, a file system (FUSE, NFS) or a sandbox (seccomp) that lacks the
/// call. None of the calls here returns these errors for another reason that matters.
#[must_use]
pub fn is_missing(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::NOTTY | Errno::NOLCK
    )
}

/// Ignores the error of a sync that the file system does not support.
///
/// # Errors
/// When the disk fails.
pub fn synced(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if Errno::from_io_error(&error).is_some_and(is_missing) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_sync_is_no_failure() {
        for error in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
            assert!(synced(Err(error.into())).is_ok());
        }
        for error in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
            assert!(synced(Err(error.into())).is_err());
        }
    }
}
