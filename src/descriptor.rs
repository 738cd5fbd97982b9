//! The types of file descriptors that a wait watches: those of the system, or uninhabited types without the feature `cli`.
//!
//! Without that feature, nothing waits. With the uninhabited types, callers need no conditional compilation.

#[cfg(feature = "cli")]
pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(not(feature = "cli"))]
pub(crate) use none::{AsFd, BorrowedFd, OwnedFd};

#[cfg(not(feature = "cli"))]
mod none {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    /// A borrowed descriptor, of which there is none.
    #[derive(Clone, Copy, Debug)]
    pub struct BorrowedFd<'a>(Infallible, PhantomData<&'a ()>);

    /// An owned descriptor, of which there is none.
    #[derive(Debug)]
    pub(crate) struct OwnedFd(Infallible);

    /// The same as the standard library's trait of this name.
    pub(crate) trait AsFd {
        /// Borrows the descriptor.
        fn as_fd(&self) -> BorrowedFd<'_>;
    }

    impl AsFd for OwnedFd {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }
}
