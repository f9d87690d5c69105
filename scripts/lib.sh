# scripts/lib.sh: what scripts/demo, scripts/test, bench/run and .ci/run share.  Sourced.
#
# The machine's own PostgreSQL is only read: the extension is installed into a
# private copy of the installation (binaries copied, the rest symlinked; the
# server finds its files relative to its own place), and everything lives in
# one temporary directory that goes away on any exit.
#
#   aquacis_begin <purpose>    packages, temporary directory, private copy, build
#   as_runner CMD...           runs CMD as the unprivileged user
#   server_start [SETTING...]  a throwaway server, socket only; sets PGHOST, PGUSER
#   server_stop
#
# A script may set before aquacis_begin: make_options, installation to the
# pg_config of the PostgreSQL to copy (else a Debian package's), and wanted to
# packages that are installed where the release has them and root is at hand.
# Environment: PG_MAJOR picks the server version, AQUACIS_CFLAGS adds compiler
# flags, TMPDIR is where the temporary directory goes (default /tmp).
#
# Exit status: 1 when something failed, 3 when it could not even be set up: no
# rights, no network, a package that cannot be had.  Then nothing was tried.

# The same language everywhere, also where a program's output is read; and no
# setting of the caller's that cd, libpq or psql would follow.
export LC_ALL=C LANG=C.UTF-8 PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin    # dpkg wants them, su does not bring them
for name in CDPATH LANGUAGE ${!LC_@} ${!PG@}; do
  case $name in LC_ALL|PG_*) ;; *) unset "$name" ;; esac
done
unset LC_ALL    # last: while others are set, bash complains of each that the machine does not have
unset name

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work= disk= child= apt_conf= apt_dir= apt_log= installing_s=0 make_options= installation= reason= policy=
wanted=()
network_limit=900    # seconds for anything that waits for the network: generous, but no stalled mirror hangs us

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

# usage: the comment at the head of the script
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

# only_help "$@": for scripts whose one option is --help
only_help() {
  case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    -*) die "unknown option $1 (see --help)" ;;
  esac
}

# cannot WHY: for what cannot be set up; the caller passes the status on
cannot() {
  reason=$*
  say "cannot be set up: $reason"
  return 3
}

# counted LOG: the last "N passed, N failed" of a log, as $log_passed and $log_failed
counted() {
  local line
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -n 1)
  [ -n "$line" ] || return 1
  log_passed=${line%% passed*} log_failed=${line#*, }
  log_failed=${log_failed%% failed*}
}

# Runs a command in the background, as a process group of its own, and waits: a
# signal to this script is answered at once, and cleanup ends the whole group.
run() {
  local status
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  wait "$child"
  status=$?
  child=
  return $status
}

# ---- packages ---------------------------------------------------------------

# The version to work with: asked for, else the newest installed one we
# support, else the one this Debian or Ubuntu release carries.
pick_pg_major() {
  local v
  [ -n "${PG_MAJOR:-}" ] && return
  for v in 18 17 16 15 14; do
    if [ -x /usr/lib/postgresql/$v/bin/postgres ] && [ -f /usr/lib/postgresql/$v/lib/pgxs/src/makefiles/pgxs.mk ]; then
      PG_MAJOR=$v; return
    fi
  done
  v=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]\+\)$/\1/p' | head -n 1)
  PG_MAJOR=${v:-15}
}

missing_packages() {
  local p
  for p in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s ' "$p"
  done
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

# What waits for the network has a limit; what dpkg does with it is never cut off.
apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }
apt_get_network() {
  run as_root env DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 "$network_limit" \
    apt-get -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60 -o Acquire::Retries=2 "$@"
}

# Installing Debian's postgresql package creates and starts a cluster "main", its
# pgbouncer package starts that.  Nobody asked us for them, so that is switched off
# for the time of the install.
install_packages() {
  local missing from=$SECONDS
  missing=$(missing_packages "$@")
  missing=${missing% }
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null ||
    { cannot "needs the packages $missing and knows how to install them with apt only"; return; }
  if ! can_be_root; then
    say "These packages are missing. Install them and call $(basename "$0") again:"
    say "  sudo apt-get update && sudo apt-get install --no-install-recommends $missing"
    cannot "not root, no sudo without a password, and these packages are missing: $missing"
    return
  fi
  say "installing: $missing"
  as_root true || { cannot "no root to install packages"; return; }    # sudo asks here, not in the background
  apt_log=$(mktemp "${TMPDIR:-/tmp}/aquacis-apt.XXXXXX") || { cannot "no file can be made in ${TMPDIR:-/tmp}; set TMPDIR to another place"; return; }
  # apt-get update calls it a success when nothing could be fetched; the download tells
  # shellcheck disable=SC2086
  { apt_get_network update -qq && apt_get_network install -y -qq --no-install-recommends --download-only $missing; } >"$apt_log" 2>&1 ||
    { tail -n 20 "$apt_log"; install_cleanup; cannot "apt-get cannot fetch the packages $missing (network, mirror?)"; return; }
  apt_conf=/etc/postgresql-common/createcluster.d/aquacis-no-main.conf
  if [ ! -d "${apt_conf%/*}" ]; then apt_dir=${apt_conf%/*}; as_root mkdir -p "$apt_dir"; fi
  echo 'create_main_cluster = false' | as_root tee "$apt_conf" >/dev/null
  if [[ $missing == *pgbouncer* && ! -e /usr/sbin/policy-rc.d ]]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  # shellcheck disable=SC2086
  apt_get install -y -qq --no-install-recommends --no-download $missing >"$apt_log" 2>&1 ||
    { cat "$apt_log"; install_cleanup; cannot "apt-get cannot install the packages $missing"; return; }
  install_cleanup
  installing_s=$((installing_s + SECONDS - from))
}

install_cleanup() {
  if [ -n "$apt_conf" ]; then as_root rm -f "$apt_conf"; fi
  if [ -n "$apt_dir" ]; then as_root rmdir --ignore-fail-on-non-empty "$apt_dir"; fi
  if [ -n "$policy" ]; then as_root rm -f "$policy"; fi
  if [ -n "$apt_log" ]; then rm -f "$apt_log"; fi
  apt_conf= apt_dir= apt_log= policy=
}

# Those that this release has; without them something is skipped, and says so.
install_wanted() {
  local p known=()
  [ -n "$(missing_packages "$@")" ] && can_be_root || return 0
  for p in "$@"; do
    if apt-cache show --no-all-versions "$p" >/dev/null 2>&1; then known+=("$p"); fi
  done
  install_packages "${known[@]}" || say "goes on without them"
}

# ---- temporary directory, unprivileged user -----------------------------------

# Servers refuse to run as root; Debian's package brings the user postgres.
runner_user() {
  if [ "$(id -u)" = 0 ]; then echo postgres; else id -un; fi
}

as_runner() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$work" USER=postgres "$@"
  else
    "$@"
  fi
}

cleanup() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  if [ -n "$child" ]; then kill -- "-$child" 2>/dev/null; wait "$child" 2>/dev/null; fi
  install_cleanup
  if [ -n "$work" ] && [ -d "$work" ]; then
    server_stop
    small_disk_remove
    rm -rf "$work"
  fi
  exit "$status"
}

aquacis_begin() {
  local purpose=$1
  shift
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if [ -n "$installation" ]; then
    PG_MAJOR=$("$installation" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/') && [ -n "$PG_MAJOR" ] ||
      die "$installation is no pg_config"
    install_packages gcc make libc6-dev "$@" || exit
    id "$(runner_user)" >/dev/null || die "needs the user $(runner_user) to run servers as"
  else
    pick_pg_major
    install_packages gcc make libc6-dev "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" "postgresql-$PG_MAJOR-postgis-3" "$@" || exit
    installation=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
  fi
  install_wanted "${wanted[@]}"
  work_directory "$purpose"
  cd "$work" || die "cannot enter $work"    # the caller's place may be closed to the unprivileged user
  private_installation
  build
}

# Where the temporary directory may be: make wants no blanks, a socket's path ends
# after 107 bytes (those of the tests are 30 longer than $work).
check_place() {
  place=$(cd "${TMPDIR:-/tmp}" 2>/dev/null && pwd) || die "${TMPDIR:-/tmp} is no directory; set TMPDIR to another place"
  case $place in *[[:space:]]*) die "the name of $place has blanks, which make cannot handle; set TMPDIR to another place" ;; esac
  [ ${#place} -le 50 ] || die "the name of $place is too long for sockets in it; set TMPDIR to another place"
}
work_directory() {
  local place
  check_place
  work=$(mktemp -d "$place/aquacis-$1.XXXXXX") || die "no directory can be made in $place; set TMPDIR to another place"
  if [ "$(id -u)" = 0 ]; then chown postgres:postgres "$work"; fi
}

# The copy keeps every path below $work/pg, so that what is relative stays so.
private_installation() {
  local lib share include
  bindir=$("$installation" --bindir) lib=$("$installation" --pkglibdir) share=$("$installation" --sharedir)
  include=$("$installation" --includedir)
  [ -f "$("$installation" --pgxs)" ] || die "$installation: its PostgreSQL has no files to build extensions with"
  as_runner mkdir -p "$work/pg${bindir%/*}" "$work/pg${lib%/*}" "$work/pg${share%/*}" "$work/pg${include%/*}" ||
    die "user $(runner_user) cannot write to $work"
  as_runner cp -r "$bindir" "$work/pg$bindir"
  as_runner cp -rs "$lib" "$work/pg$lib"
  as_runner cp -rs "$share" "$work/pg$share"
  as_runner ln -s "$include" "$work/pg$include"
  # an aquacis that the machine has must not shine through
  as_runner rm -rf "$work/pg$lib/aquacis.so" "$work/pg$lib"/bitcode/aquacis* "$work/pg$share"/extension/aquacis*
  bindir=$work/pg$bindir
  export PG_CONFIG=$bindir/pg_config
  as_runner "$PG_CONFIG" --version >/dev/null ||
    die "no program can be run in $work (mounted noexec, or full?); set TMPDIR to another place"
}

# The checkout as it is now (ignored files aside), as a tar stream.
tree_files() {
  if git -c safe.directory='*' -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
    (cd "$root" && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
      while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
      tar -cf - --null -T -)
  else
    tar -C "$root" -cf - --exclude='*.o' --exclude='*.bc' --exclude='*.so' .
  fi
}

# The build never writes into the checkout.
build() {
  local log=$work/build.log
  as_runner mkdir -p "$work/src"
  tree_files | as_runner tar -C "$work/src" -xf - --no-same-owner
  run make_and_install >"$log" 2>&1 || { cat "$log"; die "the build failed"; }
}

# shellcheck disable=SC2086
make_and_install() {
  as_runner make -s -j2 -C "$work/src" PG_CONFIG="$PG_CONFIG" COPT="${AQUACIS_CFLAGS:-}" $make_options &&
    as_runner make -s -C "$work/src" PG_CONFIG="$PG_CONFIG" $make_options install
}

# ---- a file system that is soon full -------------------------------------------

# For tests that may mount none themselves; only root can make one beforehand.
small_disk() {
  [ "$(id -u)" = 0 ] || return 0
  mkdir "$work/disk" && mount -t tmpfs -o size=64m,mode=700,uid=postgres aquacis "$work/disk" 2>/dev/null &&
    disk=$work/disk
}

small_disk_remove() {
  [ -z "$disk" ] || umount -l "$disk"
  disk=
}

# ---- throwaway server ---------------------------------------------------------

server_start() {
  local setting
  export PGHOST=$work PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  as_runner "$bindir/initdb" -D "$work/data" -U postgres --auth=trust --no-sync -E UTF8 --locale=C.UTF-8 >"$work/initdb.log" 2>&1 ||
    { cat "$work/initdb.log"; die "initdb failed"; }
  {
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$work'"
    for setting in "$@"; do echo "$setting"; done
  } | as_runner tee -a "$work/data/postgresql.conf" >/dev/null
  as_runner "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -w -t 60 start >/dev/null ||
    { cat "$work/server.log"; die "the server did not start"; }
}

server_stop() {
  [ -f "$work/data/postmaster.pid" ] || return 0
  as_runner "$bindir/pg_ctl" -D "$work/data" -m immediate -w -t 60 stop >/dev/null 2>&1
}
