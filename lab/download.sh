#!/bin/sh
# Runs while the base image is made, with its package lists: fetches each served package together
# with what it depends on beyond the base image. $1 is the tree, $2 where the .deb files go.
set -eu
tree=$1 target=$2 packages=$3
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
for package in $packages; do
  echo "I: fetching $package and its dependencies for the lab's mirror ..."
  apt-get install --yes --download-only --no-install-recommends -qq -o Dpkg::Use-Pty=false "$package" >/dev/null
done
mkdir -p "$target"
mv "$tree"/var/cache/apt/archives/*.deb "$target"
