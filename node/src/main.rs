//! `hale`: the one program of ours that runs on a node.
fn main() {}
