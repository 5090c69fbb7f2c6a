//! `cargo xtask` as a person uses it, disturbed and undisturbed, up to what is installed and flashed.

mod access;
mod build;
mod flash;
mod install;
mod lint;
mod messages;
mod pipe;
mod project;
mod repository;
mod reproducible;
mod spared;
mod store;
mod verbs;
