//! `seance password-hash`: what `basic_auth` of a route knows of a password.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::os::fd::AsRawFd as _;

use zeroize::Zeroizing;

/// 0.3 s of one core: as long as nobody minds at a login.
const COST: u32 = 12;
/// bcrypt does not see what stands behind.
const MOST: usize = 72;

#[derive(Debug, thiserror::Error)]
pub enum PasswordHashError {
    #[error("cannot switch off the echo of the terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot read a password")]
    Read(#[source] io::Error),
    #[error("there is no password on standard input")]
    Empty,
    #[error("the passwords differ")]
    Differ,
    #[error("the password has {0} bytes; bcrypt looks at {MOST} of them only")]
    Long(usize),
    #[error("the password holds a control character, which no browser sends")]
    Control,
    #[error("cannot compute the hash")]
    Hash(#[source] bcrypt::BcryptError),
}

pub fn run() -> Result<(), PasswordHashError> {
    let password = if io::stdin().is_terminal() {
        let quiet = Quiet::begin().map_err(PasswordHashError::Terminal)?;
        let password = ask("Password: ")?;
        let again = ask("Once more: ")?;
        drop(quiet);
        if password != again {
            return Err(PasswordHashError::Differ);
        }
        password
    } else {
        line()?
    };
    if password.is_empty() {
        return Err(PasswordHashError::Empty);
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordHashError::Control);
    }
    if password.len() > MOST {
        return Err(PasswordHashError::Long(password.len()));
    }
    let hash = bcrypt::hash(password.as_bytes(), COST).map_err(PasswordHashError::Hash)?;
    super::print(&format!("{hash}\n"));
    Ok(())
}

/// On standard error: the hash alone may be on its way into a file.
#[expect(clippy::print_stderr, reason = "the question of a command")]
fn ask(question: &str) -> Result<Zeroizing<String>, PasswordHashError> {
    eprint!("{question}");
    let answer = line();
    eprintln!();
    answer
}

fn line() -> Result<Zeroizing<String>, PasswordHashError> {
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(PasswordHashError::Read)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// A terminal that does not show what is typed, and takes Ctrl-C as a character: whoever ends the command half-way must
/// not be left with a dumb terminal.
struct Quiet {
    before: libc::termios,
}

impl Quiet {
    #[expect(unsafe_code, reason = "termios has no safe interface among our crates")]
    fn begin() -> io::Result<Quiet> {
        let terminal = io::stdin().as_raw_fd();
        // SAFETY: all-zero bytes are a termios, whose fields are numbers.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open for as long as the process lives, and `before` outlives the call.
        if unsafe { libc::tcgetattr(terminal, &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut quiet = before;
        quiet.c_lflag &= !(libc::ECHO | libc::ISIG);
        // SAFETY: as above. What was typed ahead is thrown away: it has been shown.
        if unsafe { libc::tcsetattr(terminal, libc::TCSAFLUSH, &raw const quiet) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Quiet { before })
    }
}

impl Drop for Quiet {
    #[expect(unsafe_code, reason = "as above")]
    fn drop(&mut self) {
        // SAFETY: as in `begin`. A terminal that is gone needs nothing.
        unsafe {
            libc::tcsetattr(
                io::stdin().as_raw_fd(),
                libc::TCSADRAIN,
                &raw const self.before,
            )
        };
    }
}
