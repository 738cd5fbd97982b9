# The release: `just dist` and so on, or the scripts themselves.

# The archive of a release, with a static binary on Linux
dist *ARGS:
    packaging/dist.sh {{ARGS}}

# Builds the archive twice, in two folders, and compares the bytes
reproducible:
    packaging/reproducible.sh
