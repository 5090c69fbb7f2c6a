#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| node::fuzz::identity(text));
