# scripts/chroot.sh: Debian chroots for scripts/test-matrix and scripts/package.  Sourced after lib.sh.
#
#   make_chroot SUITE                    debootstrap, where it is not there yet
#   run_in_chroot SUITE COMMAND...       a fresh copy of the tree in /aquacis, then the command
#   install_server VERSION               PostgreSQL VERSION in the chroot of its own release
#   bring_server VERSION SUITE           from there into SUITE's /servers
#
# A chroot is made with debootstrap from the mirror that this machine's apt uses
# (or $AQUACIS_MIRROR) and kept in $AQUACIS_CHROOTS (default /var/cache/aquacis)
# for the next run.  The mounts live in a mount namespace of their own and are
# gone with the run, whatever happens.  Needs root, or sudo without a password.
#
# What cannot be set up returns 3, with $reason.

if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    exec sudo -n env AQUACIS_CHROOTS="${AQUACIS_CHROOTS:-}" AQUACIS_MIRROR="${AQUACIS_MIRROR:-}" \
      AQUACIS_TEST_SCALE="${AQUACIS_TEST_SCALE:-1}" TMPDIR="${TMPDIR:-/tmp}" "$0" "$@"
  fi
  cannot "debootstrap and chroot need root, or sudo without a password"
  exit
fi
cache=${AQUACIS_CHROOTS:-/var/cache/aquacis}
setup_limit=1800    # seconds for making a chroot and putting packages into it, with no regard to the network's speed

# The Debian releases that carry a supported version of PostgreSQL.
debian_versions=(15 17 18)
suite_of() {
  case "$1" in
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo forky ;;
    *) die "no Debian release that we know of carries PostgreSQL $1 (known: ${debian_versions[*]})" ;;
  esac
}

# The mirror that apt uses here for Debian's own packages.
mirror() {
  if [ -n "${AQUACIS_MIRROR:-}" ]; then echo "$AQUACIS_MIRROR"; return; fi
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n '/-security/d; s/^Debian //p' | head -n 1
}

# enclosed SECONDS COMMAND...: in a mount and process namespace of its own.  When
# the time is over, or this script ends, everything that was started in it and
# mounted by it is gone.  (unshare does not listen to anything less than KILL.)
enclosed() {
  local limit=$1
  shift
  timeout --foreground --signal=KILL "$limit" unshare --mount --pid --fork --kill-child "$@"
}

# Containers may have root without the rights that count here.
can_enclose() {
  local message
  message=$(enclosed 60 sh -c 'mount --make-rprivate / && mount -t tmpfs tmpfs /tmp' 2>&1) ||
    cannot "unshare or mount is not allowed here: $(tail -n 1 <<<"$message")"
}

# One run at a time works in a chroot; the lock goes with this process.
declare -A locked
lock_chroot() {
  [ -z "${locked[$1]:-}" ] || return 0
  mkdir -p "$cache" || { cannot "cannot write to $cache"; return; }
  exec {locked[$1]}>"$cache/$1.lock" || { cannot "cannot write to $cache"; return; }
  flock --nonblock "${locked[$1]}" && return
  say "waiting for another run in $cache/$1"
  flock --wait "$network_limit" "${locked[$1]}" || { locked[$1]=; cannot "another run works in $cache/$1"; }
}

# make_chroot SUITE: finished chroots carry a stamp, so that a run that was cut
# off is made anew.
make_chroot() {
  local suite=$1 dir=$cache/$1 from script=
  can_enclose && lock_chroot "$suite" || return
  [ -e "$dir/.aquacis-ready" ] && return 0
  from=$(mirror)
  [ -n "$from" ] || { cannot "no Debian mirror in this machine's apt configuration (apt-get update first, or set AQUACIS_MIRROR)"; return; }
  install_packages debootstrap || return
  # debootstrap's own patience with a mirror that does not answer is measured in hours
  case "$from" in
    http*) wget -q -O /dev/null --timeout=30 --tries=2 "${from%/}/dists/$suite/Release" ||
      { cannot "the mirror $from does not give $suite (network?)"; return; } ;;
  esac
  # an older debootstrap does not know the newest releases; their recipe is that of sid
  [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
  say "making a $suite chroot in $dir"
  rm -rf "$dir"
  mkdir -p "$dir"
  # shellcheck disable=SC2086
  run enclosed "$setup_limit" debootstrap --variant=minbase "$suite" "$dir" "$from" $script >"$dir.log" 2>&1 ||
    {
      [ $? -ne 137 ] || set -- "$1" "took longer than $setup_limit s"
      tail -n 5 "$dir.log"
      cannot "debootstrap $suite from $from ${2:-failed} (log: $dir.log)"
      return
    }
  # a mirror may serve a frozen copy of a testing release, past its Valid-Until
  echo 'Acquire::Check-Valid-Until "false";' >"$dir/etc/apt/apt.conf.d/99aquacis"
  touch "$dir/.aquacis-ready"
}

# run_in_chroot SUITE COMMAND...: a fresh copy of the tree in /aquacis, then the
# command, at most $chroot_limit seconds (0: no limit)
chroot_limit=0
run_in_chroot() {
  local dir=$cache/$1
  shift
  rm -rf "$dir/aquacis"
  mkdir -p "$dir/aquacis"
  tree_files | tar -C "$dir/aquacis" -xf - --no-same-owner
  [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
  enclosed "$chroot_limit" bash -c '
    dir=$1
    shift
    mount --make-rprivate / && mount -t proc proc "$dir/proc" && mount -t tmpfs tmpfs "$dir/tmp" &&
    mount -t tmpfs tmpfs "$dir/dev/shm" || { echo "cannot be set up: no mounts in the chroot"; exit 3; }
    exec chroot "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" "$@"' bash "$dir" "$@"
}

# install_server VERSION: dpkg may have been cut off by the end of an earlier run.
install_server() {
  run run_in_chroot "$(suite_of "$1")" bash -c 'dpkg --configure -a >/dev/null 2>&1; . /aquacis/scripts/lib.sh; install_packages "$@"' bash \
    "postgresql-$1" "postgresql-client-$1" "postgresql-server-dev-$1" ||
    cannot "PostgreSQL $1 cannot be installed in $cache/$(suite_of "$1"), see above"
}

# bring_server VERSION SUITE: a release carries one version of PostgreSQL.  Its
# programs, files and headers go from the chroot of their own release into
# /servers of another one, laid out as from the root.  Shared libraries that
# they need and the other release does not have (libicu72, ...) are put beside
# the server's modules; what is found there under its name, glibc above all, is
# taken from there, so that nothing in /servers can stand in anybody's way.  (So
# SUITE's own server has to be installed first: its libpq serves both.)
bring_server() {
  local version=$1 from=$cache/$(suite_of "$1") to=$cache/$2 modules=/servers/usr/lib/postgresql/$1/lib missing name file
  make_chroot "$(suite_of "$version")" && install_server "$version" || return
  mkdir -p "$to/servers"
  # without just-in-time compilation: its LLVM is larger than all the rest
  chroot "$from" dpkg -L "postgresql-$version" "postgresql-client-$version" "postgresql-server-dev-$version" |
    grep -E "^/usr/(lib|share|include)/postgresql/$version/" | grep -vE '/llvmjit|/bitcode/' | sed 's,^/,,' | sort -u |
    tar -C "$from" --no-recursion -T - -cf - | tar -C "$to/servers" -xf - ||
    { cannot "PostgreSQL $version cannot be copied from $from"; return; }
  while missing=$(cd "$to" && find "servers/usr/lib/postgresql/$version/bin" "servers${modules#/servers}" -type f ! -path '*/pgxs/*' | sed 's,^,/,' |
      chroot "$to" env LD_LIBRARY_PATH="$modules" xargs ldd 2>/dev/null | sed -n 's/^\t\(.*\) => not found$/\1/p' | sort -u) &&
    [ -n "$missing" ]; do
    for name in $missing; do
      file=$(chroot "$from" /sbin/ldconfig -p | sed -n "s,^\t$name .* => ,,p" | head -n 1)
      [ -n "$file" ] && cp -L "$from$file" "$to$modules/$name" ||
        { cannot "PostgreSQL $version needs $name, which is not in $from"; return; }
    done
  done
}
