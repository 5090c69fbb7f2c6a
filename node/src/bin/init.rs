//! `init` of the initramfs: the first program that runs on a node. Apart from `hale`, to stay small.

fn main() {
    node::initramfs::run()
}
