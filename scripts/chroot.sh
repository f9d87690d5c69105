# scripts/chroot.sh: Debian chroots for scripts/test-matrix and scripts/package.  Sourced after lib.sh.
#
# A chroot is made with debootstrap from the mirror that this machine's apt uses
# and kept in $AQUACIS_CHROOTS (default /var/cache/aquacis) for the next run.  The
# mounts live in a mount namespace of their own and are gone with the run,
# whatever happens.

[ "$(id -u)" = 0 ] || die "needs root for debootstrap and chroot: sudo $0"
cache=${AQUACIS_CHROOTS:-/var/cache/aquacis}

suite_of() {
  case "$1" in
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo forky ;;
    *) die "no Debian release that we know of carries PostgreSQL $1 (known: 15, 17, 18)" ;;
  esac
}

# The mirror that apt uses here for Debian's own packages.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n '/-security/d; s/^Debian //p' | head -n 1
}

# make_chroot SUITE: finished chroots carry a stamp, so that a run that was cut
# off is made anew.
make_chroot() {
  local suite=$1 dir=$cache/$1 from script=
  [ -e "$dir/.aquacis-ready" ] && return 0
  from=$(mirror)
  [ -n "$from" ] || { say "no Debian mirror in this machine's apt configuration (apt-get update first?)"; return 1; }
  install_packages debootstrap
  # an older debootstrap does not know the newest releases; their recipe is that of sid
  [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
  say "making a $suite chroot in $dir"
  rm -rf "$dir"
  mkdir -p "$dir"
  # shellcheck disable=SC2086
  debootstrap --variant=minbase "$suite" "$dir" "$from" $script >"$dir.log" 2>&1 ||
    { tail -n 5 "$dir.log"; say "debootstrap $suite failed: is the network there? (log: $dir.log)"; return 1; }
  # a mirror may serve a frozen copy of a testing release, past its Valid-Until
  echo 'Acquire::Check-Valid-Until "false";' >"$dir/etc/apt/apt.conf.d/99aquacis"
  touch "$dir/.aquacis-ready"
}

# run_in_chroot SUITE COMMAND...: a fresh copy of the tree in /aquacis, then the command
run_in_chroot() {
  local dir=$cache/$1
  shift
  rm -rf "$dir/aquacis"
  mkdir -p "$dir/aquacis"
  tree_files | tar -C "$dir/aquacis" -xf - --no-same-owner
  [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
  unshare --mount --pid --fork --kill-child bash -c '
    dir=$1
    shift
    mount --make-rprivate / && mount -t proc proc "$dir/proc" && mount -t tmpfs tmpfs "$dir/tmp" &&
    mount -t tmpfs tmpfs "$dir/dev/shm" || exit 1
    exec chroot "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" "$@"' bash "$dir" "$@"
}
