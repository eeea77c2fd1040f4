use std::marker::PhantomData;

/// A mutable slice of which several tasks write disjoint parts.
pub(crate) struct SharedMut<'a, T> {
    ptr: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` whose users promise (at `slice`) to take disjoint parts.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<T> Clone for SharedMut<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        SharedMut { ptr: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The first element, for tasks whose parts are interleaved: to be written through only where no other task does, and only
    /// inside [`SharedMut::len`].
    #[inline(always)]
    pub(crate) fn as_mut_ptr(self) -> *mut T {
        self.ptr
    }

    /// The elements `start .. start + len`.
    ///
    /// # Safety
    /// No two tasks may hold overlapping parts at the same time.
    ///
    /// # Panics
    /// When the part does not lie inside the slice.
    #[inline(always)]
    pub(crate) unsafe fn slice(self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: in bounds by the assertion; disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), len) }
    }
}

/// The part of a caller's `f32` scratch that is aligned as `f64`. Sums need it; workspaces ask for
/// [`f64_words`] to be sure of its length.
pub(crate) fn as_f64(scratch: &mut [f32], len: usize) -> &mut [f64] {
    // SAFETY: every bit pattern is a valid f64.
    let (_, words, _) = unsafe { scratch.align_to_mut::<f64>() };
    &mut words[..len]
}

/// How many `f32` of scratch hold `len` aligned `f64`.
pub(crate) fn f64_words(len: usize) -> usize {
    2 * len + 2
}
