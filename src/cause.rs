//! An error with everything that led to it, on one line: log fields, the audit and the commands' tables print it.

use std::error::Error;
use std::fmt;

/// Prints as `a: b: c`. tracing's own error fields lose the causes: in JSON and in the journal only the outermost
/// error would be seen.
pub struct Chain<'a>(&'a (dyn Error + 'static));

pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
