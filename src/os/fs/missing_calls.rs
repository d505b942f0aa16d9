//! Calls that a system may lack: an old kernel, a file system of its own kind (FUSE, network mounts), or a sandbox. Each of them is a help that can be done
//! without.

use std::io;

use rustix::io::Errno;

/// True for the answers of a system, a file system or a sandbox that does not have a call: those of FUSE, NFS and seccomp among them. None of the calls
/// that may be missing here says so for another reason that matters.
#[must_use]
pub fn is_missing(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::NOTTY | Errno::NOLCK
    )
}

/// A sync that can't be asked for here is none that has failed.
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
    fn a_sync_that_is_not_there_has_not_failed() {
        for error in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
            assert!(synced(Err(error.into())).is_ok());
        }
        for error in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
            assert!(synced(Err(error.into())).is_err());
        }
    }
}
