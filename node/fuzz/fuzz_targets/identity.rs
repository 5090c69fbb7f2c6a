//! `node.toml` and a seed's file, any text: no panic; what is read can be written without its secrets and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::identity::Identity;
use node::role::Role;

fuzz_target!(|text: &str| {
    let role = include_str!("../../examples/role.toml");
    for kind in ["master", "node"] {
        let role = role.replacen("role = \"master\"", &format!("role = {kind:?}"), 1);
        let role = Role::parse(&role).expect("the example is whole");
        let Ok(identity) = Identity::parse("node.toml", text, &role) else { continue };
        let wiped = identity.wiped().expect("what was read can be written");
        Identity::parse("node.toml", &wiped, &role).expect("what was written can be read");
    }
});
