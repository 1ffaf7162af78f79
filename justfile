# What is done often. `just` alone lists it.

set shell := ["bash", "-euo", "pipefail", "-c"]

_list:
    @just --list --unsorted

# Says whether a change can be merged; changes no file.
verify: && _deny
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    cargo clippy -p dledger --lib --locked -- -D warnings
    cargo clippy -p dledger --bins --features cli --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked
    cargo test --workspace --locked

# Repairs what a machine can repair.
fix:
    cargo clippy --workspace --all-targets --all-features --fix --allow-dirty --allow-staged
    cargo fmt --all

# The local log beside other embedded logs; `just bench --quick` says whether it runs, any other word is a filter.
bench *what:
    cargo bench -p dledger-benches --locked -- {{what}}

# Everything CI does, on this machine.
ci:
    .ci/run

# Feeds a decoder (a file of tests/fuzz/fuzz_targets) for some seconds. Needs nightly and cargo-fuzz.
fuzz target seconds="60":
    cargo test --lib seeds_for_the_fuzzer -- --ignored
    cargo +nightly fuzz run --fuzz-dir tests/fuzz {{target}} -- -max_total_time={{seconds}} -malloc_limit_mb=64

# The tests of the format under Miri. Needs nightly with the components miri and rust-src.
miri:
    PROPTEST_CASES=8 MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib --target-dir target/miri -- format::

# Advisories need the network, and are looked at by CI.
_deny:
    @if command -v cargo-deny >/dev/null; then \
        cargo deny --all-features check bans licenses sources; \
    else \
        echo "cargo-deny is not installed: licences and sources were not checked (cargo install cargo-deny --locked)"; \
    fi
