//! The file descriptors that a wait watches: the system's, or none where there is no command.
//!
//! Without the feature `cli` nothing waits. The types cannot be made then, so that callers need no second path.

#[cfg(feature = "cli")]
pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(not(feature = "cli"))]
pub(crate) use none::{AsFd, BorrowedFd, OwnedFd};

#[cfg(not(feature = "cli"))]
mod none {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    /// No descriptor.
    #[derive(Clone, Copy, Debug)]
    pub struct BorrowedFd<'a>(Infallible, PhantomData<&'a ()>);

    /// No descriptor.
    #[derive(Debug)]
    pub(crate) struct OwnedFd(Infallible);

    /// What lends a descriptor.
    pub(crate) trait AsFd {
        /// Lends it.
        fn as_fd(&self) -> BorrowedFd<'_>;
    }

    impl AsFd for OwnedFd {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }
}
