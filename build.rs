//! Compiles the protos with `protox`, so that a fresh machine needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let protos = ["dledger/v1/raft.proto", "dledger/v1/ledger.proto", "dledger/v1/admin.proto"];
    let descriptors = protox::compile(protos, ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
