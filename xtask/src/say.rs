//! What verbs say. A reader that goes away is no mistake, so the verb goes on to its end and is silent; the macros
//! of the standard library would panic. Their names are taken, so that no verb can forget it.

use std::fmt::Arguments;
use std::io::{self, Write};

use builder::base::Class;

macro_rules! print {
    ($($word:tt)*) => { $crate::say::out(format_args!($($word)*)) };
}
macro_rules! println {
    ($($word:tt)*) => { $crate::say::out(format_args!("{}\n", format_args!($($word)*))) };
}
macro_rules! eprint {
    ($($word:tt)*) => { $crate::say::aside(format_args!($($word)*)) };
}
macro_rules! eprintln {
    ($($word:tt)*) => { $crate::say::aside(format_args!("{}\n", format_args!($($word)*))) };
}

/// Writes to standard output. What cannot be written for another reason than that nobody reads is this machine's
/// fault, and the end: half a result must not look like one.
pub(crate) fn out(text: Arguments<'_>) {
    match io::stdout().write_fmt(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            aside(format_args!("error: cannot write to standard output: {error}\n"));
            std::process::exit(Class::Machine as i32);
        }
        _ => {}
    }
}

/// Writes to standard error; when that fails there is nobody to tell.
pub(crate) fn aside(text: Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}
