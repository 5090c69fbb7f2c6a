//! Users and their keys: useradd(8), usermod(8), chpasswd(8), ssh-keygen(1), as far as they are called.

use std::fs;

use super::answers::{failed, ok};
use crate::fault::Result;
use crate::host::{Command, CommandOutput, Host};
use crate::testing::fake::machine::FakeHost;

pub(super) fn run(fake: &FakeHost, command: &Command, words: &[&str]) -> Result<CommandOutput> {
    fake.spend()?;
    let user = *words.last().unwrap();
    match command.name().as_str() {
        "useradd" => {
            append(fake, "/etc/passwd", &format!("{user}:x:1000:1000:Operator:/home/{user}:/bin/bash\n"));
            append(fake, "/etc/shadow", &format!("{user}:!:20000:0:99999:7:::\n"));
            fake.make(&format!("/home/{user}/"), "");
        }
        "usermod" if words.contains(&"--lock") => {
            change(fake, user, 1, |hash| format!("!{}", hash.trim_start_matches('!')));
            change(fake, user, 7, |_| "1".to_owned());
        }
        "usermod" => change(fake, user, 7, |_| words[1].to_owned()),
        "chpasswd" => {
            assert!(command.secret, "a hash goes to a log");
            let input = command.input.as_ref().unwrap().expose().trim().to_owned();
            let (user, hash) = input.split_once(':').unwrap();
            change(fake, user, 1, |_| hash.to_owned());
        }
        _ => {
            let (key, public) = (user.to_owned(), format!("{user}.pub"));
            if fs::exists(&key).unwrap() {
                return Ok(failed("already exists.\nOverwrite (y/n)?"));
            }
            fs::create_dir_all(fake.path("/etc/ssh")).unwrap();
            fs::write(key, "a host's private key").unwrap();
            fake.spend()?;
            fs::write(public, "a host's public key").unwrap();
        }
    }
    fake.spend()?;
    Ok(ok(""))
}

fn append(fake: &FakeHost, path: &str, line: &str) {
    let text = fs::read_to_string(fake.path(path)).unwrap();
    fs::write(fake.path(path), text + line).unwrap();
}

/// Changes a field of a user in shadow(5).
fn change(fake: &FakeHost, user: &str, at: usize, by: impl Fn(&str) -> String) {
    let text = fs::read_to_string(fake.path("/etc/shadow")).unwrap();
    let line = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if fields[0] == user {
            fields[at] = by(&fields[at]);
        }
        fields.join(":") + "\n"
    };
    fs::write(fake.path("/etc/shadow"), text.lines().map(line).collect::<String>()).unwrap();
}
