//! The cleartext signature framework (RFC 9580, section 7), read strictly.
//!
//! ```text
//! -----BEGIN PGP SIGNED MESSAGE-----      nothing may stand before this
//! Hash: SHA256                            no header but Hash
//!
//! Origin: Debian                          the text; a line that starts with a dash is
//! - -dash                                 written with `- ` in front
//! -----BEGIN PGP SIGNATURE-----
//! ...
//! -----END PGP SIGNATURE-----             nothing may stand after this
//! ```
//!
//! apt and others were fooled more than once by text outside of the signed part, or by a reader that
//! took other bytes than the verifier did. So there is one reader, and only what it returns is used.

use crate::base::{Fault, Result};

const MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----\n";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----\n";

/// The two parts of a clearsigned text.
#[derive(Debug)]
pub struct Cleartext<'a> {
    /// The text that was signed: without dashes and white space at line ends, and without the last
    /// newline, which the signature does not cover.
    pub text: String,
    /// The armored signatures.
    pub signatures: &'a str,
}

/// Takes a clearsigned text apart. Anything outside of the frame is an integrity fault.
pub fn read(message: &str) -> Result<Cleartext<'_>> {
    if !message.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") {
        let head: String = message.chars().take(60).collect();
        return Err(Fault::integrity("not a clearsigned text")
            .expected_found(MESSAGE.trim_end(), format!("{head:?}")));
    }
    if message.contains(['\r', '\0']) {
        return Err(frame("a carriage return or NUL in a clearsigned text"));
    }
    let rest =
        message.strip_prefix(MESSAGE).ok_or_else(|| frame("text on the line that begins the message"))?;
    let body = skip_headers(rest)?;
    let begin = body.find("\n-----BEGIN ").ok_or_else(|| frame("a clearsigned text without a signature"))?;
    let signatures = &body[begin + 1..];
    if !signatures.starts_with(&format!("{SIGNATURE}\n")) {
        return Err(frame("another block than a signature after the text"));
    }
    let end = signatures.find(END).map(|at| at + END.len());
    match end {
        None => return Err(frame("a signature without an end")),
        Some(end) if end != signatures.len() => return Err(frame("text after the signature")),
        Some(_) => {}
    }
    if signatures[SIGNATURE.len()..].contains("-----BEGIN") {
        return Err(frame("two signature blocks"));
    }
    let lines = body[..begin].split('\n').map(unescape).collect::<Result<Vec<_>>>()?;
    Ok(Cleartext { text: lines.join("\n"), signatures })
}

/// Puts `text`, which must end with a newline, and its armored signatures into the frame.
pub(super) fn write(text: &str, signatures: &str) -> String {
    let mut message = format!("{MESSAGE}Hash: SHA512\n\n");
    for line in text.lines() {
        message.push_str(if line.starts_with('-') { "- " } else { "" });
        message.push_str(line);
        message.push('\n');
    }
    message.push_str(signatures);
    message
}

fn skip_headers(mut rest: &str) -> Result<&str> {
    loop {
        let (line, tail) = rest.split_once('\n').ok_or_else(|| frame("a clearsigned text without a text"))?;
        rest = tail;
        match line {
            "" => return Ok(rest),
            line if line.starts_with("Hash: ") => {}
            _ => {
                return Err(
                    frame("a header that is not signed").expected_found("`Hash`", format!("{line:?}"))
                );
            }
        }
    }
}

fn unescape(line: &str) -> Result<&str> {
    let text = match line.strip_prefix("- ") {
        Some(escaped) => escaped,
        None if line.starts_with('-') => return Err(frame("a dash that is not escaped")),
        None => line,
    };
    Ok(text.trim_end_matches([' ', '\t']))
}

fn frame(what: &str) -> Fault {
    Fault::integrity(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\none \n- -two\n\n-----BEGIN PGP SIGNATURE-----\n\nabc=\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn only_the_signed_text_is_read() {
        let read = read(GOOD).unwrap();
        assert_eq!(read.text, "one\n-two\n");
        assert!(read.signatures.starts_with("-----BEGIN PGP SIGNATURE-----\n\nabc="));
    }

    #[test]
    fn what_stands_outside_is_refused() {
        let twice = format!("{GOOD}{GOOD}");
        let header_twice = GOOD.replace("Hash: SHA256\n", "Hash: SHA256\nComment: x\n");
        for (message, what) in [
            (format!("Origin: x\n{GOOD}"), "not a clearsigned text"),
            (format!("\n{GOOD}"), "not a clearsigned text"),
            ("<html></html>".to_owned(), "not a clearsigned text"),
            (format!("{GOOD}Origin: x\n"), "text after the signature"),
            (format!("{GOOD}\n"), "text after the signature"),
            (twice, "text after the signature"),
            (GOOD.replace('\n', "\r\n"), "carriage return"),
            (GOOD.replace("MESSAGE-----\n", "MESSAGE----- \n"), "on the line that begins"),
            (GOOD.replace("Hash: SHA256", "Origin: x"), "a header that is not signed"),
            (header_twice, "a header that is not signed"),
            (GOOD.replace("- -two", "-two"), "a dash that is not escaped"),
            (GOOD.replace("-----END PGP SIGNATURE-----\n", ""), "without an end"),
            (GOOD.replace("BEGIN PGP SIGNATURE", "BEGIN PGP MESSAGE"), "another block"),
            (GOOD.replace("\nabc", "\n-----BEGIN PGP SIGNATURE-----\nabc"), "two signature blocks"),
            (GOOD[..40].to_owned(), "without a text"),
            (GOOD[..60].to_owned(), "without a signature"),
        ] {
            let fault = read(&message).unwrap_err();
            assert!(fault.what().contains(what), "{what}: {fault}");
        }
    }

    #[test]
    fn writing_escapes_dashes() {
        let message = write("a\n-b\n", "-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n");
        assert!(message.contains("\na\n- -b\n-----BEGIN"));
        assert_eq!(read(&message).unwrap().text, "a\n-b");
    }
}
