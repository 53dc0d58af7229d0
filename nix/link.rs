//! How cargo links the release binary: equal functions once, relocations packed. Together 2 MB less of it.
//!
//! Both need LLVM's linker, which rustup's toolchains bring along (and use by themselves on x86-64); another toolchain
//! links as it always does.

#![expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=nix/link.rs");
    let release = variable("PROFILE") == "release";
    let linux =
        variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if !release || !linux {
        return;
    }
    let Ok(sysroot) = Command::new(variable("RUSTC"))
        .args(["--print", "sysroot"])
        .output()
    else {
        return; // without a compiler nothing is linked
    };
    let sysroot = String::from_utf8_lossy(&sysroot.stdout);
    let linker = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(variable("HOST"))
        .join("bin/gcc-ld");
    if linker.join("ld.lld").exists() {
        println!("cargo::rustc-link-arg-bins=-B{}", linker.display());
        for argument in [
            "-fuse-ld=lld",
            "-Wl,--icf=all",
            "-Wl,-z,pack-relative-relocs",
        ] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts what they need by the environment"
)]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
