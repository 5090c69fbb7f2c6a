#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| node::testing::fuzz::node_config(text));
