#!/bin/sh
# Runs once while the image's layer for EL hosts is made; $1 is its tree. Debian's rpm and dnf are
# set up as EL has them, and Debian's own package tools are put where no path finds them.
set -eu
tree=$1

mkdir -p "$tree/etc/rpm" "$tree/etc/dnf/vars" "$tree/etc/yum.repos.d" "$tree/etc/pki/rpm-gpg"
# Debian keeps the database in the home directory.
echo '%_dbpath /var/lib/rpm' >"$tree/etc/rpm/macros.lab"
mkdir -p "$tree/var/lib/rpm"
rm -rf "$tree/root/.rpmdb"
cat >"$tree/etc/dnf/dnf.conf" <<'END'
[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
END
ln -sf dnf "$tree/usr/bin/yum"

# Plugins that EL does not install: a local repository of all downloads, a list after each run.
for plugin in local show_leaves; do
  rm -f "$tree/etc/dnf/plugins/$plugin.conf" "$tree/usr/lib/python3/dist-packages/dnf-plugins/$plugin.py"
done

mkdir -p "$tree/usr/lib/lab/debian"
for tool in apt apt-get apt-cache apt-config apt-mark apt-key dpkg dpkg-query dpkg-deb; do
  if [ -e "$tree/usr/bin/$tool" ]; then mv "$tree/usr/bin/$tool" "$tree/usr/lib/lab/debian/"; fi
done
