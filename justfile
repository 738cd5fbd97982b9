# The commands of CONTRIBUTING.md and docs/release.md. Each can be run without just, too.

# Builds the program
build:
    cargo build --locked

# Runs the tests, after installing what they need: `just test --test it NAME`
test *ARGS:
    tests/run.sh {{ARGS}}

# Updates the snapshots of messages; check the diff afterwards
snapshots:
    SNAPSHOTS=overwrite cargo test --locked --test it -- usage:: terminal:: json::

# Tests with a real Envoy, as root: `just envoy`, `just envoy grpc`, `just envoy --all`
envoy *ARGS:
    tests/envoy/run.sh {{ARGS}}

# Runs docs/fleet.md with its engines, as root
fleet:
    tests/fleet/run.sh

# Checks the format, and runs Clippy
lint:
    cargo fmt --all --check
    cargo clippy --all-targets --locked -- -D warnings

# Builds the documentation of the source
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

# All checks that a change has to pass
ci:
    .ci/run

# Measures the program against cp, tcpdump and editcap
bench *ARGS:
    benches/compare.sh {{ARGS}}

# Checks the licences and advisories of the crates
deny:
    cargo deny check

# Generates the manual page
man:
    cargo run --release --locked -- --generate man > man/capture2pcap.1

# Builds the archive of a release, with a static binary on Linux
dist *ARGS:
    packaging/dist.sh {{ARGS}}

# Builds the archive twice, in two folders, and compares the bytes
reproducible:
    packaging/reproducible.sh

# Builds the Debian package
deb:
    packaging/deb.sh

# Checks the Debian package, and installs and removes it in a new Debian
test-deb:
    packaging/test-deb.sh

# Builds the container image from the archive
image:
    packaging/image.sh

# Lists the crates in CycloneDX's format
sbom:
    packaging/sbom.sh

# Checks the workflows of .github/
lint-workflows:
    packaging/lint-workflows.sh

# Checks the Rust version of Cargo.toml
msrv:
    packaging/msrv.sh

# Builds the page for the browser, in target/page or another folder
web *ARGS:
    web/build.sh {{ARGS}}

# Tests the page in Chromium, and compares it with the command
test-web *ARGS:
    web/test/run.sh {{ARGS}}
