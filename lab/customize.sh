#!/bin/sh
# Runs once while the base image is made; $1 is its tree.
set -eu
tree=$1

# The build's own apt settings and sources name places that a lab host cannot reach.
rm -f "$tree"/etc/apt/sources.list "$tree"/etc/apt/sources.list.d/* "$tree"/etc/apt/apt.conf.d/99mmdebstrap

chroot "$tree" useradd --create-home --gid operator --shell /bin/bash operator
echo 'operator ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/operator"
chmod 0440 "$tree/etc/sudoers.d/operator"

# Each host brings its own identity.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/resolv.conf" "$tree/etc/hostname"
: >"$tree/etc/machine-id"
: >"$tree/etc/default/locale"  # sshd complains at each login without it
cat >"$tree/etc/ssh/sshd_config.d/lab.conf" <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
# Tests open many connections at once; the default drops some of them.
MaxStartups 100
MaxSessions 100
END

# sysctl settings of a lab host would be those of the machine it runs on.
for unit in systemd-sysctl.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service console-getty.service \
  systemd-networkd-wait-online.service systemd-firstboot.service; do
  ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done
# What looks for disks, consoles and kernel options at each reload of systemd: a lab host has none of them, and
# they take as long as all the rest of a reload.
mkdir -p "$tree/etc/systemd/system-generators"
for what in cryptsetup debug getty gpt-auto hibernate-resume integritysetup rc-local run system-update \
  veritysetup; do
  ln -sf /dev/null "$tree/etc/systemd/system-generators/systemd-$what-generator"
done
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
ln -sf /lib/systemd/system/systemd-networkd.service "$tree/etc/systemd/system/multi-user.target.wants/"

# nspawn cannot put a tree below /sys/bus, so the host itself does it, as early as it can.
cat >"$tree/etc/systemd/system/sys-bus-pci-devices.mount" <<'END'
[Unit]
Description=Simulated PCI devices
DefaultDependencies=no
RequiresMountsFor=/var/lib/lab-hw
ConditionPathExists=/sys/bus/pci/devices
Before=local-fs.target
[Mount]
What=/var/lib/lab-hw/pci
Where=/sys/bus/pci/devices
Type=none
Options=bind,ro
[Install]
WantedBy=local-fs.target
END
mkdir -p "$tree/etc/systemd/system/local-fs.target.wants"
ln -sf ../sys-bus-pci-devices.mount "$tree/etc/systemd/system/local-fs.target.wants/"
