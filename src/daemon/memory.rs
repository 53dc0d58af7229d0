//! Gives back what memory only starting or a reload needed.
//!
//! Reading the configuration, the schema and the command line runs through megabytes of program text that nothing needs
//! again, and describing the API fills a heap many times the one that stays. The kernel counts both to this process
//! until memory is short.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("cannot read which memory is mapped")]
    Maps(#[source] io::Error),
    #[error("cannot give back {length} bytes of mapped program text")]
    Advise {
        length: usize,
        #[source]
        source: nix::Error,
    },
}

/// Unmaps the executable pages of every file. The next use of one maps it again from the page cache, without reading.
pub fn give_back_code() -> Result<(), MemoryError> {
    let maps = fs::read_to_string("/proc/self/maps").map_err(MemoryError::Maps)?;
    for (start, length) in maps.lines().filter_map(program_text) {
        #[expect(unsafe_code, reason = "the address comes as a number")]
        // SAFETY: a private file mapping without write permission holds nothing but the file's bytes, and position
        // independent code has no relocations in it; dropping its pages loses nothing.
        let advised = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
        advised.map_err(|source| MemoryError::Advise { length, source })?;
    }
    Ok(())
}

/// Returns the free pages of the heap, also those between used ones, which free(3) keeps.
pub fn give_back_heap() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator's own function has no wrapper")]
    // SAFETY: malloc_trim(3) takes the allocator's locks and touches only chunks that nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Start and length of a line of proc_pid_maps(5) that is executable, private, unwritable and backed by a file.
fn program_text(line: &str) -> Option<(NonNull<c_void>, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let file = fields.nth(3)?;
    if permissions != "r-xp" || !file.starts_with('/') {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?; // a line we cannot read is left alone
    let end = usize::from_str_radix(end, 16).ok()?;
    let address = NonNull::new(std::ptr::with_exposed_provenance_mut(start))?;
    Some((address, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::program_text;

    #[test]
    fn only_unwritable_code_of_files_is_given_back() {
        let length = |line: &str| program_text(line).map(|(_, length)| length);
        let text = "55d0c6a00000-55d0c6b00000 r-xp 00200000 08:01 42  /usr/bin/seance";
        assert_eq!(length(text), Some(0x10_0000));
        assert_eq!(length(&text.replace("r-xp", "rw-p")), None);
        assert_eq!(length(&text.replace("r-xp", "r--p")), None);
        assert_eq!(
            length("7ffd0e9f1000-7ffd0e9f3000 r-xp 00000000 00:00 0  [vdso]"),
            None
        );
        assert_eq!(
            length("7f0000000000-7f0000001000 r-xp 00000000 00:00 0"),
            None
        );
        assert_eq!(length("junk"), None);
    }
}
