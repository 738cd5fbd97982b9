# The release: `just dist` and so on, or the scripts themselves.

# The archive of a release, with a static binary on Linux
dist *ARGS:
    packaging/dist.sh {{ARGS}}

# Builds the archive twice, in two folders, and compares the bytes
reproducible:
    packaging/reproducible.sh

# The Debian package
deb:
    packaging/deb.sh

# Judges the Debian package, and installs and removes it in a new Debian
test-deb:
    packaging/test-deb.sh

# The container image of the archive
image:
    packaging/image.sh

# The list of crates, in CycloneDX's format
sbom:
    packaging/sbom.sh

# The workflows of .github/
lint-workflows:
    packaging/lint-workflows.sh

# The Rust version of Cargo.toml
msrv:
    packaging/msrv.sh
