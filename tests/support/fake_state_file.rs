//! A file of a state folder in memory, which can fail.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use cardume::peer::transfers::journal::StateFile;

/// A file in memory.
#[derive(Clone, Default)]
pub struct FakeStateFile {
    pub bytes: Rc<RefCell<Vec<u8>>>,
    pub fails: Rc<Cell<bool>>,
}

impl StateFile for FakeStateFile {
    fn read(&self) -> io::Result<Vec<u8>> {
        if self.fails.get() {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            Ok(self.bytes.borrow().clone())
        }
    }
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if self.fails.get() {
            // A full disk takes a part.
            self.bytes.borrow_mut().extend(&bytes[..bytes.len() / 2]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.borrow_mut().extend(bytes);
        Ok(())
    }
    fn append_lazily(&self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes)
    }
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if self.fails.get() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *self.bytes.borrow_mut() = bytes.to_vec();
        Ok(())
    }
}
